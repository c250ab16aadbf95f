import type { DeclaredFile } from '@onqueue/shared';
import { readDeclaredFile } from './declared-file.ts';
import { ModelLoadError } from './model-load-error.ts';

/** An output of the graph for one row, or an input: row-major values without the batch. */
export type ModuleTensor = { dtype: string; data: ArrayLike<number | bigint | string>; dims: readonly number[] };

/** What the code of a model may export. Both functions are synchronous, and get copies that they may change. */
export type ModelModule = {
  readonly file: string;
  preprocess?: (row: Record<string, unknown>) => unknown;
  postprocess?: (outputs: Record<string, ModuleTensor>, row: Record<string, unknown>) => unknown;
};

/**
 * The code beside a model. What runs are the bytes that were compared with the manifest's digest, and they reach no other file
 * by a relative path, since nothing would tell that one's digest; packages of Node are there to be imported.
 * @throws ModelLoadError
 */
export async function loadModelModule(declared: DeclaredFile, folder: string): Promise<ModelModule> {
  const { file } = declared;
  const code = await readDeclaredFile(folder, declared);
  const exports = await importCode(code).catch((cause: unknown) => {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new ModelLoadError(`${file} cannot be loaded: ${withoutCode(detail)}`, { cause });
  });
  const { preprocess, postprocess } = exports as Record<string, unknown>;
  return {
    file,
    ...(typeof preprocess === 'function' ? { preprocess: preprocess as NonNullable<ModelModule['preprocess']> } : {}),
    ...(typeof postprocess === 'function'
      ? { postprocess: postprocess as NonNullable<ModelModule['postprocess']> }
      : {}),
  };
}

/** The function that a manifest needs. @throws ModelLoadError */
export function exportOf<Name extends 'preprocess' | 'postprocess'>(
  module: ModelModule,
  name: Name,
): NonNullable<ModelModule[Name]> {
  const exported = module[name];
  if (exported) return exported as NonNullable<ModelModule[Name]>;
  throw new ModelLoadError(`${module.file} exports no function "${name}".`);
}

function importCode(code: Buffer): Promise<unknown> {
  return import(`data:text/javascript;base64,${code.toString('base64')}`);
}

/** Node names a module by its URL, which here is all of its code. */
function withoutCode(text: string): string {
  return text.replace(/data:text\/javascript;base64,[\w+/=]*/g, 'the module');
}

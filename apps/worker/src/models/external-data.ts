import { lstat, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { ModelFileError } from '../onnx/model-file-error.ts';
import type { ExternalTensor } from '../onnx/onnx-graph.ts';

/**
 * Holds the files that a model reads beside itself against where they may be: inside the version's own folder, by a
 * plain relative path, no links that lead out, and together no larger than `maxBytes`. The bytes that all tensors claim
 * count too: a thousand tensors may name the same gigabyte.
 *
 * @throws ModelFileError naming the tensor.
 */
export async function checkExternalData(options: {
  /** The folder of the version, absolute. */
  folder: string;
  /** The folder of the artifact, which locations are relative to. */
  base: string;
  tensors: readonly ExternalTensor[];
  maxBytes: number;
}): Promise<void> {
  const { base, tensors, maxBytes } = options;
  if (tensors.length === 0) return;
  const root = await realpath(options.folder);
  const sizes = new Map<string, number>();
  let [claimed, held] = [0, 0];
  for (const { tensor, location, offset = 0, length } of tensors) {
    const refuse = (why: string): never => {
      throw new ModelFileError(`the tensor "${tensor}" wants to read "${location}", ${why}.`);
    };
    const known = sizes.get(location);
    const size = known ?? (await sizeOf({ root, base, location, refuse }));
    sizes.set(location, size);
    held += known === undefined ? size : 0;
    const bytes = length ?? size - offset;
    if (bytes < 0 || offset + bytes > size) refuse(`bytes ${offset} to ${offset + bytes}, and the file has ${size}`);
    claimed += bytes;
    if (Math.max(claimed, held) > maxBytes) {
      refuse(`and with it more than ${maxBytes} bytes beside the model (ONQUEUE_MODEL_MAX_EXTERNAL_BYTES)`);
    }
  }
}

type Place = { root: string; base: string; location: string; refuse: (why: string) => never };

async function sizeOf({ root, base, location, refuse }: Place): Promise<number> {
  const reason = whyNotPlain(location);
  if (reason) return refuse(reason);
  const path = join(base, location);
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) =>
    refuse(`which cannot be read: ${error.code}`),
  );
  if (real !== root && !real.startsWith(root + sep))
    return refuse('which a link leads out of the folder of the version');
  const stats = await lstat(real);
  // A pipe or a device has no end.
  if (!stats.isFile()) return refuse('which is not a file');
  // The other name may be anywhere, such as in the folder of another tenant.
  if (stats.nlink > 1) return refuse('which has a hard link elsewhere; put a copy there');
  return stats.size;
}

/** The engine's mark for what lies in its own memory; as an offset a file would give the address. */
const MEMORY_ADDRESS = '_ORT_MEM_ADDR_';

function whyNotPlain(location: string): string | undefined {
  if (location === '') return 'which names no file';
  if (location.includes(MEMORY_ADDRESS)) return 'which stands for memory of the process';
  if (location.includes('\0')) return 'which holds a character that no name has';
  if (location.startsWith('/') || /^[a-z]:/i.test(location)) return 'which is not relative to the model';
  if (location.includes('\\')) return 'which holds a backslash';
  if (location.split('/').includes('..')) return 'which leads out of its folder';
  return undefined;
}

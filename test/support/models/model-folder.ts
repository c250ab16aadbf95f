import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fallback, ModelManifest, ResultCachePolicy } from '@onqueue/shared';

/** Where a model goes: `<dir>/<name>/<version>/`. */
export type ModelPlace = { dir: string; name: string; version: string };

export type WrittenModel = { folder: string; manifest: ModelManifest };

type Generated = 'schema_version' | 'name' | 'version' | 'description' | 'artifact' | 'golden' | 'example';
type WithoutGenerated<T> = T extends unknown ? Omit<T, Generated> : never;

/**
 * Writes model.onnx, model.json and golden.jsonl. The first golden row is the manifest's example.
 */
export async function writeModelFolder(
  { dir, name, version }: ModelPlace,
  model: {
    onnx: Uint8Array;
    manifest: WithoutGenerated<ModelManifest>;
    golden: readonly [GoldenLine, ...GoldenLine[]];
    tolerance?: number;
  },
): Promise<WrittenModel> {
  const folder = join(dir, name, version);
  const manifest = {
    schema_version: 1,
    name,
    version,
    description: 'Made by a test.',
    artifact: { file: 'model.onnx', sha256: createHash('sha256').update(model.onnx).digest('hex') },
    golden: { file: 'golden.jsonl', tolerance: model.tolerance ?? 1e-5 },
    example: model.golden[0].input,
    ...model.manifest,
  } as ModelManifest;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.onnx'), model.onnx);
  await writeFile(join(folder, 'model.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  await writeFile(join(folder, 'golden.jsonl'), model.golden.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return { folder, manifest };
}

/** Puts weights beside a model that was written before, and their checksum into its manifest. */
export async function writeWeights(
  { folder, manifest }: WrittenModel,
  { file, bytes }: { file: string; bytes: Uint8Array },
): Promise<void> {
  const data = [{ file, sha256: createHash('sha256').update(bytes).digest('hex') }];
  await writeFile(join(folder, file), bytes);
  await writeFile(
    join(folder, 'model.json'),
    JSON.stringify({ ...manifest, artifact: { ...manifest.artifact, data } }),
  );
}

/** Declares what answers in the place of a model that was written before. */
export async function declareFallbacks(model: Promise<WrittenModel>, fallbacks: readonly Fallback[]): Promise<void> {
  const { folder, manifest } = await model;
  await writeFile(join(folder, 'model.json'), JSON.stringify({ ...manifest, fallbacks }));
}

/** Has the answers of a model that was written before given again. */
export async function declareCache(
  model: Promise<WrittenModel>,
  cache: Partial<ResultCachePolicy> & Pick<ResultCachePolicy, 'ttl_s'>,
): Promise<WrittenModel> {
  const { folder, manifest } = await model;
  const declared = { ...manifest, cache } as ModelManifest;
  await writeFile(join(folder, 'model.json'), JSON.stringify(declared));
  return { folder, manifest: declared };
}

export type GoldenLine = { input: Record<string, unknown>; output: Record<string, unknown>; tolerance?: number };

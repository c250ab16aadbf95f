import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import type { WrittenModel } from '../../../../test/support/models/model-folder.ts';
import { writeImageModel, writeLinearModel, writeLookupModel } from '../../../../test/support/models/tiny-models.ts';
import { ModelLoadError } from './model-load-error.ts';
import { EngineBatchError, ModelProgram } from './model-program.ts';
import { ortEngine } from './ort-engine.ts';

let dir: string;
const opened: { release(): Promise<void> }[] = [];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-program-'));
});
afterEach(async () => {
  for (const program of opened.splice(0)) await program.release();
});
afterAll(() => rm(dir, { recursive: true }));

async function programOf({ folder, manifest }: WrittenModel, change: Partial<ModelManifest> = {}) {
  const session = await ortEngine.load(join(folder, manifest.artifact.file), { intraOpNumThreads: 1 });
  opened.push(session);
  return ModelProgram.create({ manifest: { ...manifest, ...change } as ModelManifest, session, folder });
}

test('answers the rows in their order, and says how long each phase took', async () => {
  const program = await programOf(
    await writeLinearModel({ dir, name: 'sum', version: '1', weights: [1, 10], bias: 0.5 }),
  );
  const { results, timings } = await program.run([
    { x0: 1, x1: 2 },
    { x0: 3, x1: -4 },
  ]);
  expect(results).toEqual([
    { status: 'succeeded', output: { score: 21.5 } },
    { status: 'succeeded', output: { score: -36.5 } },
  ]);
  for (const phase of ['preprocess_ms', 'inference_ms', 'postprocess_ms'] as const) {
    expect(timings[phase]).toBeGreaterThan(0);
  }
});

test('a row that overflows in the graph fails alone', async () => {
  const program = await programOf(await writeLinearModel({ dir, name: 'big', version: '1', weights: [3e38, -3e38] }));
  const { results } = await program.run([
    { x0: 0, x1: 0 },
    { x0: 10, x1: 0 },
    { x0: 10, x1: 10 },
    { x0: 0.5, x1: 0.25 },
  ]);
  expect(results.map((result) => (result.status === 'failed' ? result.error.code : 'succeeded'))).toEqual([
    'succeeded',
    'non_finite_output',
    'non_finite_output',
    'succeeded',
  ]);
});

test('rows that cannot be read keep their place, and a batch of nothing else needs no engine', async () => {
  const program = await programOf(await writeImageModel({ dir, name: 'ink', version: '1' }));
  const bad = { image: 'junk' };
  const blank = { pixels: new Array(64).fill(0) };
  const codes = async (rows: unknown[]) =>
    (await program.run(rows)).results.map((result) =>
      result.status === 'failed' ? result.error : result.output.label,
    );
  const error = expect.objectContaining({ code: 'invalid_image', pointer: '/image' });
  expect(await codes([bad, blank, bad])).toEqual([error, 'blank', error]);
  expect(await codes([bad, bad])).toEqual([error, error]);
  expect(await codes([])).toEqual([]);
});

test('an engine that refuses a row refuses the batch, and serves the next one', async () => {
  const program = await programOf(await writeLookupModel({ dir, name: 'lookup', version: '1' }));
  const refused = program.run([{ index: 1 }, { index: 99 }]);
  await expect(refused).rejects.toThrow(EngineBatchError);
  await expect(refused).rejects.toMatchObject({
    code: 'inference_failed',
    message: expect.stringContaining('out of data bounds'),
  });
  expect((await program.run([{ index: 9 }])).results).toEqual([{ status: 'succeeded', output: { score: 90 } }]);
});

test.each<[string, Partial<ModelManifest>]>([
  [
    'input "z" is not in the graph, which has "x0", "x1", "x2"',
    { inputs: [{ name: 'z', dtype: 'float32', shape: [-1, 1] }] },
  ],
  [
    'input "x0" is int64 in the manifest and float32 in the graph',
    { inputs: [{ name: 'x0', dtype: 'int64', shape: [-1, 1] }] },
  ],
  [
    'input "x0" is [-1, 3] in the manifest and [batch, 1] in the graph',
    { inputs: [{ name: 'x0', dtype: 'float32', shape: [-1, 3] }] },
  ],
  [
    'output "score" of the graph is not in the manifest',
    { outputs: [{ name: 'p', dtype: 'float32', shape: [-1, 1] }] },
  ],
])('a manifest of another graph is refused: %s', async (message, change) => {
  const loading = programOf(await writeLinearModel({ dir, name: 'other', version: '1' }), change);
  await expect(loading).rejects.toThrow(ModelLoadError);
  await expect(loading).rejects.toThrow(message);
});

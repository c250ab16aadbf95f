import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { ModelProgram } from '../runner/model-program.ts';
import { ortEngine } from '../runner/ort-engine.ts';
import { rowKindOf } from '../runner/row-kinds/row-kind.ts';
import { warmUp } from '../runner/warm-up.ts';
import { readGoldenRows } from './golden-rows.ts';
import { scanModelRepository } from './model-repository.ts';

const modelsDir = fileURLToPath(new URL('../../../../models', import.meta.url));
const entries = await scanModelRepository({ modelsDir });

test('every model in models/ has a manifest that can be served', () => {
  expect(entries.map(({ error }) => error?.message)).toEqual(entries.map(() => undefined));
  // Those below are of versions that have golden rows.
  const proved = entries.flatMap(({ manifest }) => (manifest?.golden ? `${manifest.name}/${manifest.version}` : []));
  expect(proved).toEqual(expect.arrayContaining(['digits/1', 'fraud/1', 'fraud/2', 'language/1']));
  expect(proved).toHaveLength(entries.length);
});

for (const { folder, manifest } of entries) {
  if (!manifest?.golden) continue;
  const { name, version, golden } = manifest;

  test(`${name}/${version} answers its golden rows as training did, one by one and in batches`, async () => {
    const session = await ortEngine.load(join(folder, manifest.artifact.file), { intraOpNumThreads: 1 });
    const program = await ModelProgram.create({ manifest, session, folder });
    const rows = await readGoldenRows(join(folder, golden.file));
    for (const maxBatchSize of [1, 7, manifest.batching.max_batch_size]) {
      await warmUp({ program, rows, tolerance: golden.tolerance, maxBatchSize });
    }
    await program.release();
  });

  if (manifest.kind === 'text') {
    test(`${name}/${version} makes the tokens of training's library`, async () => {
      const cases = (await readFile(join(folder, 'parity.jsonl'), 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      const rowKind = await rowKindOf(manifest, folder);
      for (const { input, ids } of cases) {
        const { feeds } = await rowKind.prepare([input]);
        const found = feeds[manifest.preprocess.ids_input]?.data ?? [];
        expect([input, Array.from(found, Number)]).toEqual([input, ids]);
      }
      expect(cases.length).toBeGreaterThan(100);
    });
  }

  if (manifest.kind !== 'image') continue;

  test(`${name}/${version} reads pictures as training did`, async () => {
    const cases = (await readFile(join(folder, 'parity.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const rowKind = await rowKindOf(manifest, folder);
    for (const { name: title, input, tensor, tolerance } of cases) {
      const { feeds, failures } = await rowKind.prepare([input]);
      expect([title, [...failures.values()]]).toEqual([title, []]);
      const values = feeds[manifest.inputs[0]?.name ?? '']?.data as Float32Array;
      const worst = Math.max(
        ...tensor.map((expected: number, k: number) => Math.abs((values[k] ?? Number.NaN) - expected)),
      );
      expect([title, worst, worst <= tolerance]).toEqual([title, worst, true]);
    }
  });
}

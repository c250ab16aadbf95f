import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { OnnxGraph } from '../../../../test/support/models/onnx-graph.ts';
import { zipMapModel } from '../../../../test/support/models/zip-map-model.ts';
import { ortEngine } from '../runner/ort-engine.ts';
import { readOnnxModel } from './onnx-model.ts';
import { withoutZipMap } from './zip-map.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-zip-map-'));
});
afterAll(() => rm(dir, { recursive: true }));

const input = { input: { dtype: 'float32', data: Float32Array.of(0, 0, 0, 2000), dims: [2, 2] } } as const;

test.each([{ labels: [3, 7] }, { labels: ['ham', 'späm'] }])(
  'a classifier of the labels $labels answers its probabilities',
  async ({ labels }) => {
    const [path, target] = [join(dir, 'with.onnx'), join(dir, 'without.onnx')];
    await writeFile(path, zipMapModel(labels as string[]));
    // The reason for it all: the binding does not return what a ZipMap makes.
    const before = await ortEngine.load(path, { intraOpNumThreads: 1 });
    await expect(before.run(input, ['output_probability'])).rejects.toThrow();
    await before.release();

    expect(await withoutZipMap(path, target)).toEqual([
      { output: 'output_probability', tensor: 'probabilities', labels },
    ]);
    const session = await ortEngine.load(target, { intraOpNumThreads: 1 });
    const { probabilities, output_label } = await session.run(input, ['probabilities', 'output_label']);
    expect(probabilities).toMatchObject({ dtype: 'float32', dims: [2, 2] });
    expect([...(probabilities?.data ?? [])]).toEqual([0.5, 0.5, 0, 1]);
    expect(output_label).toMatchObject({ dtype: 'int64' });
    await session.release();

    const model = await readOnnxModel(target);
    expect(model.outputs).toMatchObject([{ name: 'output_label' }, { name: 'probabilities', dims: [undefined, 2] }]);
    expect([...model.metadataProps]).toEqual([['made', 'by hand']]);
  },
);

test('a model without a ZipMap is left alone', async () => {
  const graph = new OnnxGraph('plain');
  graph.node('Relu', [graph.input('x', 'float32', ['batch'])], { output: 'y' });
  graph.output('y', 'float32', ['batch']);
  const path = join(dir, 'plain.onnx');
  await writeFile(path, graph.toModel());
  expect(await withoutZipMap(path, join(dir, 'none.onnx'))).toEqual([]);
  await expect(access(join(dir, 'none.onnx'))).rejects.toThrow('ENOENT');
});

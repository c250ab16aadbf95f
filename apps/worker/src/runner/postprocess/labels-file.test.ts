import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { loadPostprocess } from '../load-postprocess.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-labels-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function labelOf(text: string, file = 'labels.txt'): Promise<unknown> {
  await writeFile(join(folder, file), text);
  const sha256 = createHash('sha256').update(text).digest('hex');
  const manifest = {
    kind: 'tabular',
    outputs: [{ name: 'y', dtype: 'float32', shape: [-1, 3] }],
    postprocess: { type: 'argmax', output: 'y', labels_file: { file, sha256 } },
  } as unknown as ModelManifest;
  const { results } = await loadPostprocess(manifest, folder);
  const [result] = results({ y: { dtype: 'float32', data: Float32Array.of(0, 1, 0), dims: [1, 3] } }, 1);
  return result?.status === 'succeeded' ? result.output.label : result?.error;
}

test('labels are read from a file of lines, or a JSON array', async () => {
  expect(await labelOf('cat\ndog\nfish')).toBe('dog');
  expect(await labelOf('\uFEFFcat\r\nwild dog\r\nfish\r\n')).toBe('wild dog');
  expect(await labelOf('cat\n\nfish\n')).toBe('');
  expect(await labelOf('["cat", "dog", "fish"]', 'labels.json')).toBe('dog');
});

test.each([
  ['cat\ndog\n', 'labels.txt', 'needs 2 value(s) a row (labels.txt has 2 labels) of "y", whose shape is [-1, 3]'],
  ['', 'labels.txt', 'labels.txt has no labels'],
  ['{"0": "cat"}', 'labels.json', 'labels.json is not a JSON array of strings'],
  ['["cat",', 'labels.json', 'labels.json is not a JSON array of strings'],
])('a file of labels that does not fit is refused: %j', async (text, file, message) => {
  await expect(labelOf(text, file)).rejects.toThrow(message);
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readGoldenRows, worstDifference } from './golden-rows.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-golden-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function fileOf(text: string): Promise<string> {
  const path = join(dir, 'golden.jsonl');
  await writeFile(path, text);
  return path;
}

test('reads a row a line, the last line with or without its end', async () => {
  const path = await fileOf('{"input":{"a":1},"output":{"b":2}}\n\n{"input":{"a":3},"output":{"b":4},"tolerance":0.5}');
  expect(await readGoldenRows(path)).toEqual([
    { input: { a: 1 }, output: { b: 2 }, line: 1 },
    { input: { a: 3 }, output: { b: 4 }, tolerance: 0.5, line: 3 },
  ]);
});

test('names the line that is no golden row', async () => {
  await expect(readGoldenRows(await fileOf('{"input":{},"output":{}}\n{"input":\n'))).rejects.toThrow(
    'golden.jsonl:2 is not',
  );
  await expect(readGoldenRows(await fileOf('{"input":{}}'))).rejects.toThrow('golden.jsonl:1 is not');
  const negative = '{"input":{},"output":{},"tolerance":-1}';
  await expect(readGoldenRows(await fileOf(negative))).rejects.toThrow('golden.jsonl:1 is not');
});

test('a file without rows proves nothing, and is refused', async () => {
  await expect(readGoldenRows(await fileOf('\n'))).rejects.toThrow('has no golden rows');
});

test('finds the largest difference of two numbers at the same place', () => {
  const expected = { p: 0.5, nested: { q: [1, 2] }, label: 'a' };
  const actual = { p: 0.25, nested: { q: [1, 1] }, label: 'a', more: 'is not compared' };
  expect(worstDifference(actual, expected)).toEqual({ difference: 1, pointer: '/nested/q/1', expected: 2, actual: 1 });
  expect(worstDifference(expected, expected).difference).toBe(0);
});

test.each([
  [{ label: 'b' }, { label: 'a' }, '/label'],
  [{}, { label: 'a' }, '/label'],
  [{ p: '1' }, { p: 1 }, '/p'],
  [{ p: Number.NaN }, { p: 1 }, '/p'],
  [{ p: [1] }, { p: [1, 2] }, '/p'],
  [{ p: null }, { p: {} }, '/p'],
  [{ 'a/b': 1 }, { 'a/b': 'x' }, '/a~1b'],
])('what is not a number has to be equal: %#', (actual, expected, pointer) => {
  expect(worstDifference(actual, expected)).toMatchObject({ difference: Number.POSITIVE_INFINITY, pointer });
});

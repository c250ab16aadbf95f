import { expect, test } from '@jest/globals';
import { manifestText } from './manifest-draft.ts';

test('what belongs together stands together, short lists on a line, comments above', () => {
  const manifest = {
    batching: { max_batch_size: 8 },
    name: 'x',
    inputs: [{ name: 'a', shape: [-1, 4] }],
    extra: undefined,
    example: { a: Array(60).fill(0.5) },
  };
  const text = manifestText(manifest, { inputs: ['As the graph has them.'], batching: ['The limit.'] });
  expect(text).toMatch(
    /^\{\n {2}"name": "x",\n {2}\/\/ As the graph has them\.\n {2}"inputs": \[\{ "name": "a", "shape": \[-1, 4\] \}\],/,
  );
  expect(text).toContain('\n  // The limit.\n  "batching": { "max_batch_size": 8 }\n}');
  expect(JSON.parse(text.replace(/^\s*\/\/.*$/gm, ''))).toEqual(JSON.parse(JSON.stringify(manifest)));
});

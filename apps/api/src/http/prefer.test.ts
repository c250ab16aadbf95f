import { expect, test } from '@jest/globals';
import { parsePrefer } from './prefer.ts';

const waitOf = (header: string | undefined) => parsePrefer(header).waitS;

test.each([
  ['wait=10', 10],
  ['respond-async, wait=10', 10],
  ['wait=10, respond-async', 10],
  ['Wait = "7"', 7],
  ['handling=lenient; a="b, wait=1", wait=5', 5],
  ['wait=5; reason=test', 5],
  ['wait=3, wait=9', 3],
  ['wait=0', 0],
])('%s is a wait of %d s', (header, waitS) => expect(waitOf(header)).toBe(waitS));

test.each([
  undefined,
  '',
  'respond-async',
  'return=minimal',
  'wait',
  'wait=',
  'wait=soon',
  'wait=-1',
  'wait=1.5',
  'await=5',
  ',,;=',
])('%j asks for no wait', (header) => expect(waitOf(header)).toBeUndefined());

// An expression that tried every way to part the text would not come to an end within the time of a test.
test.each(['wait', '"', 'a=";', ' ', ',', '=', 'a=b;', '" ,', 'a ='])(
  'a header full of %j is read to its end',
  (piece) => {
    expect(waitOf(piece.repeat(16_384 / piece.length))).toBeUndefined();
    expect(waitOf(`wait=4,${piece.repeat(16_384 / piece.length)}`)).toBe(4);
  },
);

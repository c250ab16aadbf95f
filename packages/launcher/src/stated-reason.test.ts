import { expect, test } from '@jest/globals';
import { statedReason } from './stated-reason.ts';

const log = (level: number, msg: string) => JSON.stringify({ level, time: 1, msg });

test.each([
  ['the message of a fatal log line', [log(30, 'starts'), log(60, 'Redis may evict.'), ''], 'Redis may evict.'],
  ['plain text after log lines', [log(50, 'no such model'), 'Nothing to serve.'], 'Nothing to serve.'],
  [
    'plain text with details, in one line',
    ['Warning!', 'Not valid:', '  A: none', '  B: 7'],
    'Not valid: A: none; B: 7',
  ],
  ['nothing when it ended in the middle of its work', [log(30, 'serving')], undefined],
  ['nothing when it crashed', ['Error: bug', '    at main (main.js:1:1)', '', 'Node.js v20.20.2'], undefined],
  ['nothing when it said nothing', [], undefined],
])('is %s', (_, lines, reason) => expect(statedReason(lines)).toBe(reason));

import { expect, test } from '@jest/globals';
import { parseCommandLine, UsageError, usage } from './command-line.ts';

test('a bench is named once, with five rounds unless told otherwise', () => {
  expect(parseCommandLine(['latency'])).toEqual({ name: 'latency', isJson: false, isHelp: false, rounds: 5 });
  expect(parseCommandLine(['latency', '--json', '--rounds', '7'])).toMatchObject({ isJson: true, rounds: 7 });
});

test('no name asks for the list', () => {
  expect(parseCommandLine([])).toMatchObject({ name: undefined });
});

test.each([['--rounds', '0'], ['--rounds', '2.5'], ['--rounds', '101'], ['--fast'], ['a', 'b']])(
  'refuses %s %s',
  (...args) => {
    expect(() => parseCommandLine(args.filter((arg) => typeof arg === 'string'))).toThrow(UsageError);
  },
);

test('the help names every bench', () => {
  expect(usage([{ name: 'latency', summary: 'how long' }])).toContain('latency  how long');
});

import { expect, test } from '@jest/globals';
import { parseStartOptions } from './start-options.ts';

test('starts one worker and no durable profile unless asked', () => {
  expect(parseStartOptions([])).toEqual({ workers: 1, isDurable: false, wantsHelp: false });
  expect(parseStartOptions(['--workers', '3', '--durable'])).toEqual({ workers: 3, isDurable: true, wantsHelp: false });
});

test('refuses in one line what it does not know', () => {
  expect(() => parseStartOptions(['--wrokers', '3'])).toThrow(
    /^Unknown option '--wrokers'[^\n]*--help' lists what there is\.$/,
  );
  expect(() => parseStartOptions(['--workers', 'many'])).toThrow(
    "--workers must be a number from 1 to 64, not 'many'.",
  );
});

import { expect, test } from '@jest/globals';
import { isAuthOn } from './auth-mode.ts';

test.each([
  ['auto', '127.0.0.1', false],
  ['auto', '127.8.0.1', false],
  ['auto', 'localhost', false],
  ['auto', '::1', false],
  ['auto', '0.0.0.0', true],
  ['auto', '::', true],
  ['auto', '10.0.0.1', true],
  ['auto', '127.example.com', true],
  ['on', '127.0.0.1', true],
  ['off', '127.0.0.1', false],
] as const)('ONQUEUE_AUTH=%s on %s: %s', (auth, host, isOn) => {
  expect(isAuthOn({ auth, host })).toBe(isOn);
});

test('off is refused where others can ask, with what to do', () => {
  expect(() => isAuthOn({ auth: 'off', host: '0.0.0.0' })).toThrow(/ONQUEUE_HOST is 0\.0\.0\.0.*ONQUEUE_HOST=127/s);
});

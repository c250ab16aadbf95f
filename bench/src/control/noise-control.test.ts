import { expect, test } from '@jest/globals';
import { foreignShare } from './noise-control.ts';

test('what others used is counted against all cores', () => {
  expect(foreignShare({ machineMs: 1500, ownMs: 500, elapsedMs: 1000, cores: 2 })).toBe(0.5);
});

test('two clocks that disagree by a tick are no noise', () => {
  expect(foreignShare({ machineMs: 490, ownMs: 500, elapsedMs: 1000, cores: 2 })).toBe(0);
});

test('where CPU time is not counted, nothing is held against a round', () => {
  expect(foreignShare({ machineMs: undefined, ownMs: undefined, elapsedMs: 1000, cores: 2 })).toBe(0);
});

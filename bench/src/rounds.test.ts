import { expect, test } from '@jest/globals';
import type { RoundSample } from './bench.ts';
import { measureRounds } from './rounds.ts';

function measured(samples: readonly RoundSample[], maxVoided: number, rounds: number) {
  const left = [...samples];
  const measure = async () => left.shift() ?? Promise.reject(new Error('more rounds than expected'));
  return measureRounds({ rounds, maxVoided, measure, progress: () => undefined });
}
const quiet = (jobs: number): RoundSample => ({ figures: { jobs }, noise: undefined });
const noisy = (jobs: number): RoundSample => ({ figures: { jobs }, noise: 'somebody else computes' });

test('medians and spreads are taken over the rounds', async () => {
  const result = await measured([quiet(3), quiet(1), quiet(2)], 3, 3);
  expect(result).toEqual({ rounds: 3, voided: 0, noisy: 0, medians: { jobs: 2 }, spreads: { jobs: [1, 3] } });
});

test('a noisy round is measured again and does not count', async () => {
  const result = await measured([quiet(1), noisy(1000), quiet(3)], 2, 2);
  expect(result).toMatchObject({ voided: 1, noisy: 0, spreads: { jobs: [1, 3] } });
});

test('noisy rounds count once the repeats are used up, and are told', async () => {
  const result = await measured([noisy(9), noisy(1), noisy(2)], 1, 2);
  expect(result).toMatchObject({ rounds: 2, voided: 1, noisy: 2, medians: { jobs: 1.5 } });
});

test('a round that cannot be measured ends the bench', async () => {
  await expect(measured([quiet(1)], 1, 2)).rejects.toThrow('more rounds than expected');
});

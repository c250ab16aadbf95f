import { expect, test } from '@jest/globals';
import { coreBudgetWarning } from './core-budget.ts';

test.each([
  { instances: 1, intraOpThreads: 1, versions: 2, cores: 2 },
  { instances: 2, intraOpThreads: 2, versions: 1, cores: 4 },
])('says nothing of threads that have a core each', (budget) => {
  expect(coreBudgetWarning(budget)).toBeUndefined();
});

test.each([
  { instances: 2, intraOpThreads: 2, versions: 1, cores: 2 },
  { instances: 1, intraOpThreads: 1, versions: 3, cores: 2 },
])('names the settings that ask for more threads than there are cores', (budget) => {
  expect(coreBudgetWarning(budget)).toMatch(/ONQUEUE_INSTANCES=.* threads on 2 cores/);
});

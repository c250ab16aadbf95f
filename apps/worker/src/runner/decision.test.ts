import { expect, test } from '@jest/globals';
import { decide } from './decision.ts';

const policy = {
  score: 'probability',
  bands: [{ decision: 'block', above: 0.82 }, { decision: 'step_up', from: 0.6 }, { decision: 'allow' }],
};

test.each([
  [1, 'block'],
  [0.8200001, 'block'],
  [0.82, 'step_up'],
  [0.8199999, 'step_up'],
  [0.6, 'step_up'],
  [0.5999999, 'allow'],
  [0, 'allow'],
])('a score of %p is decided as %p: above is exclusive, from inclusive', (score, decision) => {
  expect(decide(policy, score)).toBe(decision);
});

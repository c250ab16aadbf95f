import { describe, expect, test } from '@jest/globals';
import { canMove, isTerminal, jobState, terminalState } from './job-state.ts';

describe('job states', () => {
  test('end in one of four, from which nothing leads away', () => {
    for (const state of terminalState.options) {
      expect(isTerminal(state)).toBe(true);
      expect(jobState.options.filter((to) => canMove(state, to))).toEqual([]);
    }
  });

  test('reach success and failure only from running', () => {
    for (const end of ['succeeded', 'failed'] as const) {
      expect(jobState.options.filter((from) => canMove(from, end))).toEqual(['running']);
    }
  });
});

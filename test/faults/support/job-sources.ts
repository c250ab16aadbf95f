import { describe } from '@jest/globals';
import { isFullSize } from './fault-size.ts';

export type JobSourceKind = 'batch' | 'stock';

const KINDS: readonly JobSourceKind[] = ['batch', 'stock'];
const [main = 'batch', ...others] = process.env.ONQUEUE_JOB_SOURCE
  ? KINDS.filter((kind) => kind === process.env.ONQUEUE_JOB_SOURCE)
  : KINDS;
/** Those that scenes are registered for. */
export const JOB_SOURCES: readonly JobSourceKind[] = [main, ...others];

/**
 * Registers scenes for both job sources, or for the one that `ONQUEUE_JOB_SOURCE` names: the stock worker serves wherever
 * the batch source does not hold, so it must survive the same. In full size everything runs on both; every day the second
 * source has only those scenes that are registered although `isWhole` is false.
 */
export function onEverySource(register: (source: JobSourceKind, isWhole: boolean) => void): void {
  for (const source of JOB_SOURCES) {
    describe(`on the ${source} source`, () => register(source, isFullSize || source === main));
  }
}

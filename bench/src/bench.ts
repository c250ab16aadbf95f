import type { Cleanup } from './cleanup.ts';

/** Measured values by name; the name ends in the unit unless it is a ratio. */
export type Figures = Record<string, number>;

/** What a bench is given. */
export interface BenchContext {
  /** Whoever opens something adds its closing here. */
  cleanup: Cleanup;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /** Says what is going on, in a line on stderr. */
  progress: (line: string) => void;
}

/** What one round found. */
export interface RoundSample {
  figures: Figures;
  /** Why the round should not be believed, if its control says so. */
  noise: string | undefined;
}

/** A benchmark: `prepare` starts what all rounds share and returns what measures one round. */
export interface Bench {
  name: string;
  /** One line for the list of benches. */
  summary: string;
  /** What each figure is, in the order in which they are shown. */
  figures: Readonly<Record<string, string>>;
  prepare(context: BenchContext): Promise<(round: number) => Promise<RoundSample>>;
}

/** Nothing could be measured; the message says why. */
export class MeasurementError extends Error {
  override readonly name = 'MeasurementError';
}

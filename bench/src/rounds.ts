import type { Figures, RoundSample } from './bench.ts';
import { median, spread } from './statistics.ts';

/** What the rounds of a bench add up to. */
export interface RoundsResult {
  rounds: number;
  /** Rounds that were thrown away and measured again because their control was bad. */
  voided: number;
  /** Rounds that count although their control was bad, since no repeats were left. */
  noisy: number;
  /** Per figure, over the rounds that count. */
  medians: Figures;
  spreads: Record<string, [min: number, max: number]>;
}

export interface MeasureRoundsOptions {
  rounds: number;
  /** How many rounds may be thrown away in all. */
  maxVoided: number;
  measure: (round: number) => Promise<RoundSample>;
  progress: (line: string) => void;
}

/**
 * Measures rounds one after the other. A round whose control says that the machine was busy with something else is
 * voided and repeated; once `maxVoided` repeats are used up, noisy rounds count, and the result says how many.
 */
export async function measureRounds(options: MeasureRoundsOptions): Promise<RoundsResult> {
  const { rounds, maxVoided, measure, progress } = options;
  const kept: Figures[] = [];
  let voided = 0;
  let noisy = 0;
  while (kept.length < rounds) {
    const { figures, noise } = await measure(kept.length + voided + 1);
    const label = `round ${kept.length + 1}/${rounds}`;
    if (noise !== undefined && voided < maxVoided) {
      voided++;
      progress(`${label}: voided (${noise}), repeating; ${voided} of at most ${maxVoided}`);
      continue;
    }
    if (noise !== undefined) noisy++;
    kept.push(figures);
    progress(`${label}: ${brief(figures)}${noise === undefined ? '' : `  [noisy, kept: ${noise}]`}`);
  }
  // What takes long may be measured in some rounds only.
  const names = [...new Set(kept.flatMap(Object.keys))];
  const valuesOf = (name: string) => kept.flatMap((figures) => figures[name] ?? []);
  return {
    rounds,
    voided,
    noisy,
    medians: Object.fromEntries(names.map((name) => [name, median(valuesOf(name))])),
    spreads: Object.fromEntries(names.map((name) => [name, spread(valuesOf(name))])),
  };
}

function brief(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    .join('  ');
}

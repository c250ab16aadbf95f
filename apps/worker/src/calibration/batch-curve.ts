import type { BatchCurvePoint, Clock } from '@onqueue/shared';
import { type MeasuredBatch, takenMs } from './measured-batch.ts';

export interface BatchCurveOptions {
  /** Rows that the model is known to answer. */
  rows: readonly unknown[];
  maxBatchSize: number;
  budgetMs: number;
  run: (rows: readonly unknown[]) => Promise<MeasuredBatch>;
  /** Asked before every batch: whether somebody else needs the runner now. */
  isWanted?: () => boolean;
  clock: Clock;
}

/**
 * Why there are no more samples. `complete`: every size was measured as often as is useful; `budget`: the time was up;
 * `failed`: a batch had no answer, and the curve ends before its size; `wanted`: the runner was needed.
 */
export type BatchCurveEnd = 'complete' | 'budget' | 'failed' | 'wanted';

/** How often every size is repeated at least, if there is time. */
const ROUNDS = 7;
/** A fast model is measured for so long all the same: what disturbs a machine often lasts as long as seven rounds of it. */
const LEAST_MS = 400;
/** Rounds for which the rows of a sample are made few enough. */
const LEAST_ROUNDS = 5;
/** A larger size is tried while it should take no more of the time left than this; the rest is for repeats. */
const FIRST_TRY_SHARE = 0.25;

/**
 * Measures how many rows a second a model computes, by batch size: 1, 2, 4, … `maxBatchSize`. Each size is run once, which
 * also warms up all code on the way; then all of them in turn, several times, so that a disturbance meets every size; the
 * median counts. A batch that computes for long is interrupted on a busy machine, where a short one slips through: time
 * without a core is not counted. Resolves when the budget is spent, even if a batch is still under way then. The points are those
 * of the sizes that were reached, perhaps none; never rejects.
 */
export async function measureBatchCurve(
  options: BatchCurveOptions,
): Promise<{ curve: BatchCurvePoint[]; end: BatchCurveEnd }> {
  const measurement = new Measurement(options);
  let deadline: { cancel(): void } | undefined;
  const isTimeUp = new Promise<BatchCurveEnd>((resolve) => {
    deadline = options.clock.setTimeout(() => resolve('budget'), options.budgetMs);
  });
  const end = await Promise.race([measurement.measure(), isTimeUp]);
  deadline?.cancel();
  return { curve: measurement.stop(), end };
}

interface Sample {
  ms: number;
  computeMs: number;
}

type RawSample = Sample & MeasuredBatch;

/** What is known of one batch size. */
class SizeSamples {
  /** Cold, so it only tells what to expect; it counts when there is no other. */
  readonly #first: Sample;
  readonly #repeats: Sample[] = [];

  constructor(first: Sample) {
    this.#first = first;
  }

  add(sample: Sample): void {
    this.#repeats.push(sample);
  }

  /** Milliseconds of a batch. */
  get ms(): number {
    return this.#typical(({ ms }) => ms);
  }

  get computeMs(): number {
    return this.#typical(({ computeMs }) => computeMs);
  }

  #typical(value: (sample: Sample) => number): number {
    return this.#repeats.length === 0 ? value(this.#first) : median(this.#repeats.map(value));
  }
}

class Measurement {
  readonly #options: BatchCurveOptions;
  readonly #rows: readonly unknown[];
  readonly #deadlineMs: number;
  readonly #sizes = new Map<number, SizeSamples>();
  #isStopped = false;

  constructor(options: BatchCurveOptions) {
    this.#options = options;
    this.#rows = spread(options.rows);
    this.#deadlineMs = options.clock.now() + options.budgetMs;
  }

  async measure(): Promise<BatchCurveEnd> {
    const cut = await this.#tryAll();
    if (cut === 'failed' || cut === 'wanted') return cut;
    const sampleRows = this.#affordableSampleRows();
    const longEnoughAtMs = this.#options.clock.now() + LEAST_MS;
    for (let round = 0; round < ROUNDS || this.#options.clock.now() < longEnoughAtMs; round++) {
      const sizes = [...this.#sizes.keys()];
      // To and fro, so that what gets slower or faster with time does so for small and large alike.
      for (const size of round % 2 === 0 ? sizes : sizes.toReversed()) {
        const failure = await this.#repeat(size, batchesOf(size, sampleRows));
        if (failure) return failure;
      }
    }
    return cut ?? 'complete';
  }

  /** Ends it; what comes back afterwards is not counted. */
  stop(): BatchCurvePoint[] {
    this.#isStopped = true;
    return [...this.#sizes].map(([size, samples]) => pointOf(size, samples));
  }

  /** One batch of each size; undefined when all were reached. */
  async #tryAll(): Promise<BatchCurveEnd | undefined> {
    let msPerRow = 0;
    for (const size of batchSizes(this.#options.maxBatchSize)) {
      if (msPerRow * size > this.#leftMs * FIRST_TRY_SHARE) return 'budget';
      const sample = await this.#runBatch(size, 0);
      if (typeof sample === 'string') return sample;
      this.#sizes.set(size, new SizeSamples(undisturbed(sample)));
      msPerRow = sample.ms / size;
    }
    return undefined;
  }

  /**
   * One sample: so many batches, one after the other. They compute the same rows as the batches of other sizes: rows
   * differ in cost, since a picture has to be decoded and plain numbers have not.
   */
  async #repeat(size: number, batches: number): Promise<BatchCurveEnd | undefined> {
    const samples = this.#sizes.get(size);
    if (!samples || samples.ms * batches > this.#leftMs) return 'budget';
    const sum: RawSample = { ms: 0, computeMs: 0, cpuMs: 0 };
    for (let batch = 0; batch < batches; batch++) {
      const sample = await this.#runBatch(size, batch * size);
      if (typeof sample === 'string') return sample;
      sum.ms += sample.ms;
      sum.computeMs += sample.computeMs;
      sum.cpuMs += sample.cpuMs;
    }
    const { ms, computeMs } = undisturbed(sum);
    samples.add({ ms: ms / batches, computeMs: computeMs / batches });
    return undefined;
  }

  async #runBatch(size: number, firstRow: number): Promise<RawSample | BatchCurveEnd> {
    const { run, clock, isWanted } = this.#options;
    if (isWanted?.()) return 'wanted';
    const rows = Array.from({ length: size }, (_, index) => this.#rows[(firstRow + index) % this.#rows.length]);
    const startedAtMs = clock.now();
    try {
      const { computeMs, cpuMs } = await run(rows);
      return this.#isStopped ? 'budget' : { ms: clock.now() - startedAtMs, computeMs, cpuMs };
    } catch {
      for (const other of this.#sizes.keys()) if (other >= size) this.#sizes.delete(other);
      return 'failed';
    }
  }

  get #leftMs(): number {
    return this.#deadlineMs - this.#options.clock.now();
  }

  /** How many rows a sample has: those of the largest batch, or fewer where that would take too long. */
  #affordableSampleRows(): number {
    let rows = Math.max(...this.#sizes.keys());
    const roundMs = () => [...this.#sizes].reduce((sum, [size, { ms }]) => sum + batchesOf(size, rows) * ms, 0);
    while (rows > 1 && roundMs() * LEAST_ROUNDS > this.#leftMs) rows >>= 1;
    return rows;
  }
}

function undisturbed({ ms, ...batch }: RawSample): Sample {
  const taken = takenMs(batch);
  return { ms: ms - taken, computeMs: batch.computeMs - taken };
}

function batchSizes(max: number): number[] {
  const sizes: number[] = [];
  for (let size = 1; size < max; size *= 2) sizes.push(size);
  return [...sizes, max];
}

function batchesOf(size: number, sampleRows: number): number {
  return Math.max(1, Math.round(sampleRows / size));
}

/** Rows of a kind stand together in a file; here any few neighbours are a fair choice of all. */
function spread(rows: readonly unknown[]): unknown[] {
  const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;
  return rows
    .map((row, index) => ({ row, place: (index * GOLDEN_RATIO) % 1 }))
    .sort((a, b) => a.place - b.place)
    .map(({ row }) => row);
}

function pointOf(size: number, samples: SizeSamples): BatchCurvePoint {
  // A clock that does not move between two readings would make a rate of infinity.
  const ms = Math.max(samples.ms, 0.001);
  return {
    batch_size: size,
    rows_per_s: rounded((size / ms) * 1000),
    ms: rounded(ms),
    compute_ms: rounded(samples.computeMs),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** To as many digits as a measurement may be trusted with. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

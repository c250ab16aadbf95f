import { type Backlog, type Clock, type JobStore, type Lane, type LaneBacklog, systemClock } from '@onqueue/shared';
import { DrainRate } from './drain-rate.ts';
import type { ModelCatalog } from './model-catalog.ts';

/** Samples are this far apart; the rate is between the oldest and the newest of them. */
const SAMPLE_MS = 1000;
const WINDOW = 15;
/** Room that should have come free before a refused client tries again, as a share of the cap. */
const ROOM = 0.05;
const LONGEST_RETRY_S = 60;
/** When nothing has been measured: soon enough not to idle, late enough not to storm. */
const UNKNOWN_RETRY_S = 5;

interface Sample {
  atMs: number;
  finishedJobs: number;
  finishedRows: number;
  finishedJobsOf: Readonly<Record<Lane, number>>;
}

/** Measures how fast each model's backlog drains, so that a refusal can say honestly when to come back. */
export class BacklogMonitor {
  readonly #store: Pick<JobStore, 'backlog'>;
  readonly #catalog: ModelCatalog;
  readonly #clock: Clock;
  readonly #samples = new Map<string, Sample[]>();
  readonly #drain = new DrainRate();
  #timer: { cancel(): void } | undefined;

  constructor({
    store,
    catalog,
    clock = systemClock,
  }: { store: Pick<JobStore, 'backlog'>; catalog: ModelCatalog; clock?: Clock }) {
    this.#store = store;
    this.#catalog = catalog;
    this.#clock = clock;
  }

  start(): void {
    this.#timer = this.#clock.setTimeout(() => {
      void this.sample()
        .catch(() => {
          // Redis is away: requests say so; the next sample comes anyway.
        })
        .then(() => {
          if (this.#timer) this.start();
        });
    }, SAMPLE_MS);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async sample(): Promise<void> {
    const models = new Set((await this.#catalog.list()).map(({ descriptor }) => descriptor.name));
    await Promise.all([...models].map(async (model) => this.#record(model, await this.#store.backlog(model))));
  }

  /** Seconds until about `ROOM` of the cap has drained, 1…60. */
  retryAfterS(model: string, dimension: 'jobs' | 'rows' | 'bytes', backlog: Backlog, cap: number): number {
    const perSecond = this.#drainRate(model, dimension, backlog);
    if (perSecond <= 0) return UNKNOWN_RETRY_S;
    return Math.min(LONGEST_RETRY_S, Math.max(1, Math.ceil((cap * ROOM) / perSecond)));
  }

  /** How many rows of a model may wait, for the last to be taken up in time; no number while nothing was measured. */
  rowsWithin(model: string, waitS: number): number {
    return Math.ceil(waitS * (this.#drain.rowsPerSecond(model, this.#clock.now()) ?? Number.POSITIVE_INFINITY));
  }

  /** How long a job before it keeps another from its start, at best; undefined while nothing was measured of late. */
  bestMsPerJob(model: string): number | undefined {
    const perSecond = this.#drain.bestJobsPerSecond(model, this.#clock.now());
    return perSecond ? 1000 / perSecond : undefined;
  }

  /** Jobs of a lane that have ended in a second of late; 0 when none has, or nothing was measured. */
  jobsPerSecond(model: string, lane: Lane): number {
    const [oldest, newest] = this.#window(model);
    if (!oldest || !newest) return 0;
    return ((newest.finishedJobsOf[lane] - oldest.finishedJobsOf[lane]) / (newest.atMs - oldest.atMs)) * 1000;
  }

  #drainRate(model: string, dimension: 'jobs' | 'rows' | 'bytes', backlog: Backlog): number {
    const [oldest, newest] = this.#window(model);
    if (!oldest || !newest) return 0;
    const seconds = (newest.atMs - oldest.atMs) / 1000;
    const jobs = (newest.finishedJobs - oldest.finishedJobs) / seconds;
    if (dimension === 'jobs') return jobs;
    if (dimension === 'rows') return (newest.finishedRows - oldest.finishedRows) / seconds;
    return backlog.jobs > 0 ? jobs * (backlog.bytes / backlog.jobs) : 0;
  }

  /** The oldest and the newest sample; empty while there is no time between the two. */
  #window(model: string): [Sample, Sample] | [] {
    const samples = this.#samples.get(model) ?? [];
    const oldest = samples[0];
    const newest = samples.at(-1);
    return oldest && newest && newest.atMs > oldest.atMs ? [oldest, newest] : [];
  }

  #record(model: string, backlog: LaneBacklog): void {
    const { finishedJobs, finishedRows, finishedJobsOf } = backlog;
    this.#drain.observe(model, this.#clock.now(), backlog);
    const samples = this.#samples.get(model) ?? [];
    samples.push({ atMs: this.#clock.now(), finishedJobs, finishedRows, finishedJobsOf });
    this.#samples.set(model, samples.slice(-WINDOW));
  }
}

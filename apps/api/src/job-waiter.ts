import {
  type Clock,
  type CompletionListener,
  isTerminal,
  type JobRecord,
  type JobStore,
  Problem,
  systemClock,
} from '@onqueue/shared';

export interface JobWaiterOptions {
  store: Pick<JobStore, 'read'>;
  listener: CompletionListener;
  maxWaiters: number;
  clock?: Clock;
}

/** Long polls: holds a request until its job has ended, told by push. */
export class JobWaiter {
  readonly #options: JobWaiterOptions;
  readonly #clock: Clock;
  readonly #releases = new Set<() => void>();
  #isReleased = false;

  constructor(options: JobWaiterOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get count(): number {
    return this.#releases.size;
  }

  /** Whether one more would be refused. */
  get isFull(): boolean {
    return this.#releases.size >= this.#options.maxWaiters;
  }

  /**
   * The job once it has ended, or as it is after `timeoutMs`, when `signal` aborts or the server shuts down.
   * Subscribes before it reads, so that no end falls between the two. `begin` brings the job about, once it is subscribed
   * to, and stands for the first read: nothing that begins then has ended.
   * @throws Problem too_many_waiters
   */
  async wait(
    tenant: string,
    id: string,
    timeoutMs: number,
    signal: AbortSignal,
    begin?: () => Promise<void>,
  ): Promise<JobRecord | null> {
    if (this.isFull) {
      throw new Problem('too_many_waiters', 'This server holds as many long polls as it may. Poll without `wait`.', {
        retryAfterS: 1,
      });
    }
    let wake: () => void = () => {};
    let isOver = this.#isReleased;
    let isHinted = false;
    const release = () => {
      isOver = true;
      wake();
    };
    this.#releases.add(release);
    signal.addEventListener('abort', release, { once: true });
    const deadline = this.#clock.setTimeout(release, timeoutMs);
    let unwatch: () => void = () => {};
    try {
      unwatch = await this.#options.listener.watch(id, () => {
        isHinted = true;
        wake();
      });
      if (begin) {
        await begin();
        if (!isHinted && !isOver) await new Promise<void>((resolve) => (wake = resolve));
      }
      for (;;) {
        isHinted = false;
        const job = await this.#options.store.read(tenant, id);
        if (job === null || isTerminal(job.state) || isOver) return job;
        if (!isHinted) await new Promise<void>((resolve) => (wake = resolve));
        if (isOver && !isHinted) return job;
      }
    } finally {
      unwatch();
      deadline.cancel();
      signal.removeEventListener('abort', release);
      this.#releases.delete(release);
    }
  }

  /** Answers everybody who waits with the job as it is, also whoever still comes: a server that shuts down keeps nobody. */
  releaseAll(): void {
    this.#isReleased = true;
    for (const release of this.#releases) release();
  }
}

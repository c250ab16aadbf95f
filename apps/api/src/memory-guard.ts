import { type Clock, Problem } from '@onqueue/shared';
import { NO_EVICTION, type ServerMemory } from '@onqueue/shared/redis';

export interface MemoryGuardOptions {
  read: () => Promise<ServerMemory>;
  /** Percent of `maxmemory` that new jobs may fill; the rest is for the results of those accepted. */
  limitPercent: number;
  clock: Clock;
}

const INTERVAL_MS = 500;
/** Memory comes free as jobs are forgotten, which takes longer than for a queue to drain. */
const RETRY_AFTER_S = 10;

/**
 * Refuses new jobs before Redis is so full that those it holds could not end, and while its policy lets it evict them:
 * somebody may change that while we run.
 */
export class MemoryGuard {
  readonly #options: MemoryGuardOptions;
  #memory: ServerMemory = { usedBytes: 0, maxBytes: 0, maxmemoryPolicy: NO_EVICTION };
  #timer: { cancel(): void } | undefined;
  #isStopped = false;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
  }

  get memory(): ServerMemory {
    return this.#memory;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      void this.look().then(() => this.start());
    }, INTERVAL_MS);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async look(): Promise<void> {
    try {
      this.#memory = await this.#options.read();
    } catch {
      // Redis is away, which requests find out for themselves; what was seen last holds.
    }
  }

  /** @throws Problem storage_full, storage_unsuitable */
  assertAdmits(): void {
    const { usedBytes, maxBytes, maxmemoryPolicy } = this.#memory;
    if (maxmemoryPolicy !== NO_EVICTION) {
      throw new Problem(
        'storage_unsuitable',
        `Redis has maxmemory-policy ${maxmemoryPolicy} and may evict what it accepts; it needs ${NO_EVICTION}.`,
        { retryAfterS: RETRY_AFTER_S, needsOperator: true },
      );
    }
    if (maxBytes === 0 || usedBytes < (maxBytes * this.#options.limitPercent) / 100) return;
    const percent = Math.round((usedBytes / maxBytes) * 100);
    throw new Problem(
      'storage_full',
      `Redis is ${percent} % full; new jobs are taken below ${this.#options.limitPercent} %, so that accepted ones can end.`,
      { retryAfterS: RETRY_AFTER_S },
    );
  }
}

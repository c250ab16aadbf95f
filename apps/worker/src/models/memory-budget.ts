import type { Clock } from '@onqueue/shared';
import type { LoadedVersion, ManagedVersion } from './managed-version.ts';

export interface MemoryBudgetOptions<Served extends LoadedVersion> {
  /** Resident bytes of all runners together; 0: no limit. */
  budgetBytes: number;
  clock: Clock;
  versions: () => Iterable<ManagedVersion<Served>>;
  /** Memory of versions that are being stopped, and not gone yet. */
  leavingBytes: () => number;
  /** Whether jobs of it are in hand. */
  isBusy: (version: ManagedVersion<Served>) => boolean;
  /** Nobody waits for room any more. */
  signal: AbortSignal;
  /** Takes runners from it, all but its `min_instances`. */
  evict: (version: ManagedVersion<Served>) => Promise<void>;
}

interface ReserveOptions {
  /** How long others may be in use until there is no room. */
  waitMs: number;
  mayEvict: boolean;
}

/** There is no room, and nothing that may be unloaded for it. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';
}

/** How often it is looked at whether something can be unloaded. */
const LOOK_MS = 100;

/**
 * Keeps the runners of a worker within a number of bytes, by unloading versions that are `on_demand` and idle, the least recently
 * used first. Those that are not `on_demand` are never unloaded for it. What a load needs is not known before it: it is guessed, and
 * what came of it is looked at afterwards.
 */
export class MemoryBudget<Served extends LoadedVersion> {
  readonly #options: MemoryBudgetOptions<Served>;
  /** One makes room at a time: two would count on the same bytes. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: MemoryBudgetOptions<Served>) {
    this.#options = options;
  }

  get usedBytes(): number {
    const { versions, leavingBytes } = this.#options;
    let sum = leavingBytes();
    for (const { served, reservedBytes } of versions()) sum += (served?.residentBytes ?? 0) + reservedBytes;
    return sum;
  }

  /** Reserves `bytes` for a load, and unloads others for it, which may be waited for. @throws NoRoomError */
  reserve(version: ManagedVersion<Served>, bytes: number, options: ReserveOptions): Promise<void> {
    if (this.#options.budgetBytes === 0) return Promise.resolve();
    const reserved = this.#turn.then(() => this.#reserve(version, bytes, options));
    this.#turn = reserved.catch(() => undefined);
    return reserved;
  }

  /** Unloads what may be until all fits that is loaded: guesses are wrong, and runners grow. */
  async trim(): Promise<void> {
    const { budgetBytes, evict } = this.#options;
    if (budgetBytes === 0) return;
    const trimmed = this.#turn.then(async () => {
      while (this.usedBytes > budgetBytes) {
        const victim = this.#victim();
        if (!victim) return;
        await evict(victim);
      }
    });
    this.#turn = trimmed;
    await trimmed;
  }

  async #reserve(version: ManagedVersion<Served>, bytes: number, { waitMs, mayEvict }: ReserveOptions): Promise<void> {
    const { budgetBytes, evict, clock, signal } = this.#options;
    const untilMs = clock.now() + waitMs;
    while (this.usedBytes + bytes > budgetBytes) {
      const victim = mayEvict ? this.#victim(version) : undefined;
      if (victim) {
        await evict(victim);
        continue;
      }
      const isInTime = clock.now() < untilMs || this.#isLoadingOther(version);
      if (bytes > budgetBytes || !isInTime || signal.aborted) {
        throw new NoRoomError(
          `It needs about ${megabytes(bytes)} of memory, and of ${megabytes(budgetBytes)} (ONQUEUE_MODEL_MEMORY_BUDGET_BYTES) ${megabytes(this.usedBytes)} are in use by models that cannot be unloaded now.`,
        );
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, LOOK_MS));
    }
    version.reservedBytes = bytes;
  }

  /** What is loaded now may turn out to be smaller, or may be unloaded when it is there. */
  #isLoadingOther(version: ManagedVersion<Served>): boolean {
    return [...this.#options.versions()].some((other) => other !== version && other.reservedBytes > 0);
  }

  /** Of those that nobody uses, the one that was used longest ago. */
  #victim(other?: ManagedVersion<Served>): ManagedVersion<Served> | undefined {
    const { versions, isBusy } = this.#options;
    const evictable = [...versions()].filter(
      (version) =>
        version !== other &&
        version.state === 'ready' &&
        version.isOnDemand &&
        !version.loading &&
        version.served !== undefined &&
        version.served.instances > (version.manifest?.serving?.min_instances ?? 0) &&
        version.served.isIdle &&
        !isBusy(version),
    );
    return evictable.toSorted((a, b) => a.lastUsedAtMs - b.lastUsedAtMs)[0];
  }
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MB`;
}

import { type Clock, faultPoint } from '@onqueue/shared';
import type { ScriptCall } from './scripts/script-call.ts';
import type { HeldJob } from './swap-codec.ts';

export interface LockKeeperOptions {
  renew: ScriptCall;
  scratchKey: string;
  prefix: string;
  lockDurationMs: number;
  clock: Clock;
  onError: (error: Error) => void;
}

interface Lock {
  held: HeldJob;
  queuePrefix: string;
}

/** One script for so many; more would hold Redis up for the others. */
const MAX_LOCKS_PER_SCRIPT = 256;

/**
 * Renews the locks of all jobs in hand at half their duration, many with one call. A lock that is lost is not renewed any
 * more: its job is somebody else's, and our fence refuses what this worker commits for it.
 *
 * stopped ── start() ──> renewing ── stop() ──> stopped.
 */
export class LockKeeper {
  readonly #options: LockKeeperOptions;
  readonly #locks = new Map<HeldJob, Lock>();
  #timer: { cancel(): void } | undefined;
  #renewing: Promise<void> = Promise.resolve();
  #renewedAtMs: number;

  constructor(options: LockKeeperOptions) {
    this.#options = options;
    this.#renewedAtMs = options.clock.now();
  }

  start(): void {
    this.#renewedAtMs = this.#options.clock.now();
    this.#plan(this.#options.lockDurationMs / 2);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  hold(held: HeldJob, queuePrefix: string): void {
    this.#locks.set(held, { held, queuePrefix });
  }

  release(held: HeldJob): void {
    this.#locks.delete(held);
  }

  isHeld(held: HeldJob): boolean {
    return this.#locks.has(held);
  }

  /** Before anything is done that trusts the locks: renews them when this process, or Redis, has paused for long. */
  async settle(): Promise<void> {
    const { clock, lockDurationMs } = this.#options;
    if (clock.now() - this.#renewedAtMs > lockDurationMs * 0.75) await this.renew();
  }

  /** Renews what is held now. Never rejects: what could not be renewed is tried again soon. */
  renew(): Promise<void> {
    // One that is under way knows nothing of the jobs that came after it began.
    const renewed = this.#renewing.then(() => this.#renew());
    this.#renewing = renewed;
    return renewed;
  }

  #plan(ms: number): void {
    this.#timer = this.#options.clock.setTimeout(async () => {
      await this.renew();
      if (!this.#timer) return;
      const isLate = this.#options.clock.now() - this.#renewedAtMs > ms;
      this.#plan(isLate ? this.#options.lockDurationMs / 8 : this.#options.lockDurationMs / 2);
    }, ms);
  }

  async #renew(): Promise<void> {
    const { renew, scratchKey, prefix, lockDurationMs, clock, onError } = this.#options;
    const startedAtMs = clock.now();
    const locks = [...this.#locks.values()];
    try {
      if (locks.length > 0) faultPoint('renew.before');
      for (let at = 0; at < locks.length; at += MAX_LOCKS_PER_SCRIPT) {
        const group = locks.slice(at, at + MAX_LOCKS_PER_SCRIPT);
        const lost = (await renew(scratchKey, prefix, lockDurationMs, ...group.flatMap(renewArguments))) as number[];
        for (const index of lost) {
          const lock = group[index];
          if (lock) this.#locks.delete(lock.held);
        }
      }
      this.#renewedAtMs = startedAtMs;
      if (locks.length > 0) faultPoint('renew.after');
    } catch (error) {
      onError(error as Error);
    }
  }
}

function renewArguments({ held: { job, queueJobId, token }, queuePrefix }: Lock): (string | number)[] {
  return [queuePrefix, queueJobId, token, job.tenant, job.id, job.run, job.attempt];
}

import type { RedisConnection } from '@onqueue/shared/redis';
import type { ScriptCall } from './scripts/script-call.ts';

/** BullMQ's sign in a queue's `marker` set: member "0" there is a job, "1" a delayed one, due at the score. */
export interface Marker {
  key: string;
  member: string;
  score: string;
}

/** Redis rounds a shorter one to 0, which means for ever. */
const MIN_WAIT_MS = 10;
const WAKE_TTL_MS = 60_000;

export interface MarkerListenerOptions {
  /** This listener's alone. */
  blocking: RedisConnection;
  signal: ScriptCall;
  scratchKey: string;
  wakeKey: string;
}

/**
 * Waits for work in one blocking call for all queues of a partition: an idle worker costs Redis nothing. A key of our own
 * is always among those it waits for, so that the wait can be ended when another queue should be in the list.
 */
export class MarkerListener {
  readonly #options: MarkerListenerOptions;

  constructor(options: MarkerListenerOptions) {
    this.#options = options;
  }

  /** The first marker among the keys, earlier keys first; null when `timeoutMs` is over, or when it was woken. */
  async wait(keys: readonly string[], timeoutMs: number): Promise<Marker | null> {
    const { blocking, wakeKey } = this.#options;
    const timeoutS = Math.max(MIN_WAIT_MS, timeoutMs) / 1000;
    const reply = await blocking.bzpopmin(wakeKey, ...keys, timeoutS);
    if (!reply) return null;
    const [key, member, score] = reply;
    return key === wakeKey ? null : { key, member, score: String(score) };
  }

  /** Ends the wait that runs, or the next one at once: no wake is lost between two waits. */
  async wake(): Promise<void> {
    const { signal, scratchKey, wakeKey } = this.#options;
    await signal(scratchKey, WAKE_TTL_MS, wakeKey, 0, '0');
  }

  /** Gives back markers that this worker has no use for, so that another one sees them. */
  async putBack(markers: readonly Marker[]): Promise<void> {
    const { signal, scratchKey } = this.#options;
    await signal(scratchKey, '', ...markers.flatMap(({ key, score, member }) => [key, score, member]));
  }
}

import { parseJobId } from '../job-id.ts';
import { type Clock, type CompletionListener, systemClock } from '../ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

/** How long a waiter can miss a lost message. */
const RECHECK_MS = 10_000;
/** How long `watch` waits for its subscription; without one the rechecks still tell. */
const SUBSCRIBE_TIMEOUT_MS = 500;

/**
 * One subscription per partition, shared by all waiters of the process. Pub/sub loses what is said while the
 * connection is down, so every waiter is hinted after a reconnect, and every 10 s anyway.
 */
export class RedisCompletionListener implements CompletionListener {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #clock: Clock;
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #subscriptions = new Map<number, Promise<unknown>>();

  constructor({ redis, keys, clock = systemClock }: { redis: RedisConnection; keys: RedisKeys; clock?: Clock }) {
    this.#redis = redis;
    this.#keys = keys;
    this.#clock = clock;
    redis.on('message', (_channel: string, ids: string) => {
      for (const id of ids.split(' ')) for (const hint of this.#watchers.get(id) ?? []) hint();
    });
    redis.on('ready', () => {
      for (const hints of this.#watchers.values()) for (const hint of hints) hint();
    });
  }

  async watch(id: string, onHint: () => void): Promise<() => void> {
    const hints = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, hints.add(onHint));
    let recheck = this.#clock.setTimeout(tick, RECHECK_MS);
    const clock = this.#clock;
    function tick() {
      recheck = clock.setTimeout(tick, RECHECK_MS);
      onHint();
    }
    await this.#subscribed(parseJobId(id)?.partition ?? 0);
    return () => {
      recheck.cancel();
      hints.delete(onHint);
      if (hints.size === 0) this.#watchers.delete(id);
    };
  }

  #subscribed(partition: number): Promise<void> {
    let subscription = this.#subscriptions.get(partition);
    if (!subscription) {
      subscription = this.#redis.subscribe(this.#keys.done(partition)).catch(() => {
        this.#subscriptions.delete(partition);
      });
      this.#subscriptions.set(partition, subscription);
    }
    return new Promise((resolve) => {
      const deadline = this.#clock.setTimeout(resolve, SUBSCRIBE_TIMEOUT_MS);
      void subscription.then(() => {
        deadline.cancel();
        resolve();
      });
    });
  }
}

import type { Clock } from '@onqueue/shared';

/** Longer than Redis is silent while it forks or a script runs; short for whoever waits for a process to end. */
const PATIENCE_MS = 2000;

export interface RedisVigilOptions {
  ping: () => Promise<unknown>;
  /** Whether nothing is in hand that Redis should still hear of. */
  isIdle: () => boolean;
  clock: Clock;
}

export interface RedisVigil {
  /** Resolves when Redis has not answered for two seconds and nothing is in hand. */
  isPointless: Promise<void>;
  end(): void;
}

/**
 * Watches over a drain. Every command of a worker waits for a Redis that is away, and so does a drain: rightly, while it
 * holds what could be committed when Redis comes back; for nothing, when it only wants to say goodbye.
 */
export function keepRedisVigil({ ping, isIdle, clock }: RedisVigilOptions): RedisVigil {
  let timer: { cancel(): void } | undefined;
  const isPointless = new Promise<void>((resolve) => {
    const watch = () => {
      let isAnswered = false;
      ping().then(
        () => {
          isAnswered = true;
        },
        () => undefined,
      );
      timer = clock.setTimeout(() => (!isAnswered && isIdle() ? resolve() : watch()), PATIENCE_MS);
    };
    watch();
  });
  return { isPointless, end: () => timer?.cancel() };
}

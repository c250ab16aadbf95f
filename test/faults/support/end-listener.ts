import { closeRedis, connectRedis, type RedisConnection, RedisKeys } from '@onqueue/shared/redis';

/** Hears of every end as Redis tells it, for scenes that measure: a client that polls would slow down what it measures. */
export class EndListener {
  readonly ended = new Set<string>();
  readonly #redis: RedisConnection;
  #onEnd = () => {};

  static async start(redisUrl: string): Promise<EndListener> {
    const listener = new EndListener(connectRedis(redisUrl, { kind: 'subscriber' }, () => {}));
    await listener.#redis.subscribe(new RedisKeys('oq').done(0));
    return listener;
  }

  private constructor(redis: RedisConnection) {
    this.#redis = redis;
    redis.on('message', (_channel: string, ids: string) => {
      for (const id of ids.split(' ')) this.ended.add(id);
      this.#onEnd();
    });
  }

  /** Resolves when all of these have ended. */
  untilEnded(ids: Iterable<string>): Promise<void> {
    const expected = [...ids];
    return new Promise((resolve) => {
      this.#onEnd = () => {
        while (expected.length > 0 && this.ended.has(String(expected.at(-1)))) expected.pop();
        if (expected.length === 0) resolve();
      };
      this.#onEnd();
    });
  }

  async close(): Promise<void> {
    await closeRedis(this.#redis);
  }
}

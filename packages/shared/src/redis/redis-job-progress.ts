import type { JobProgress, JobProgressLog, ProgressOf } from '../job-progress.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { PROGRESS_LUA } from './scripts/progress.ts';
import { translateStoreError } from './store-error.ts';

type ProgressCommand = (...args: (string | number)[]) => Promise<number>;

/** Progress in the records of jobs. */
export class RedisJobProgress implements JobProgressLog {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisConnection; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
    redis.defineCommand('onqueueProgress', { lua: PROGRESS_LUA, numberOfKeys: 1 });
  }

  async note(attempt: ProgressOf, { rows }: JobProgress, everyMs: number): Promise<boolean> {
    const commands = this.#redis as RedisConnection & Record<'onqueueProgress', ProgressCommand>;
    const { tenant, id, run, partition } = attempt;
    try {
      const noted = await commands.onqueueProgress(
        this.#keys.scratch(partition),
        this.#keys.partition(partition),
        // It ends no run, so nothing begins to be kept for a time.
        0,
        tenant,
        id,
        run,
        attempt.attempt,
        rows.done,
        rows.total,
        everyMs,
      );
      return noted === 1;
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

import type { RedisConnection } from './connection.ts';
import { parseQueueJobId, type RedisKeys } from './keys.ts';

export interface RedisHaltListenerOptions {
  /** A connection of its own, of the subscriber profile. */
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  onHalt: (ended: { id: string; run: number }) => void;
}

/**
 * Hears of runs that end while a worker may hold them. A message that is lost costs some computing and no more: what the
 * worker commits for such a run is refused.
 */
export async function listenForHalts({ redis, keys, partitions, onHalt }: RedisHaltListenerOptions): Promise<void> {
  redis.on('message', (_channel: string, runs: string) => {
    for (const run of runs.split(' ')) onHalt(parseQueueJobId(run));
  });
  await redis.subscribe(...Array.from({ length: partitions }, (_, partition) => keys.halt(partition)));
}

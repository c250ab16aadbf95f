import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

export interface RedisHaltListenerOptions {
  /** A connection of its own, of the subscriber profile. */
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  onHalt: (id: string) => void;
}

/**
 * Hears of runs that end while a worker may hold them. A message that is lost costs some computing and no more: what the
 * worker commits for such a run is refused.
 */
export async function listenForHalts({ redis, keys, partitions, onHalt }: RedisHaltListenerOptions): Promise<void> {
  redis.on('message', (_channel: string, ids: string) => {
    for (const id of ids.split(' ')) onHalt(id);
  });
  await redis.subscribe(...Array.from({ length: partitions }, (_, partition) => keys.halt(partition)));
}

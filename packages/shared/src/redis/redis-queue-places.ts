import { parseJobId } from '../job-id.ts';
import type { QueuePlace, QueuePlaces } from '../queue-place.ts';
import type { RedisConnection } from './connection.ts';
import { queueJobId, queueName, type RedisKeys } from './keys.ts';
import { PLACE_LUA } from './scripts/place.ts';
import { translateStoreError } from './store-error.ts';

/** Places of jobs among parked ones and in BullMQ's wait lists. */
export class RedisQueuePlaces implements QueuePlaces {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisConnection; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
    redis.defineCommand('onqueuePlace', { lua: PLACE_LUA, numberOfKeys: 5 });
  }

  async placeOf(record: Parameters<QueuePlaces['placeOf']>[0]): Promise<QueuePlace | undefined> {
    const { tenant, id, run, rows, model, lane } = record;
    const parts = parseJobId(id);
    if (!parts) return undefined;
    const { partition } = parts;
    const queue = queueName(model, lane);
    const bull = `${this.#keys.bullPrefix(partition)}:${queue}:`;
    const commands = this.#redis as RedisConnection & Record<'onqueuePlace', PlaceCommand>;
    try {
      const [position, before = -1, isPaused] = await commands.onqueuePlace(
        `${bull}wait`,
        this.#keys.turns(partition, queue),
        this.#keys.parked(partition, queue, tenant),
        this.#keys.weights(partition),
        `${bull}meta`,
        queueJobId(id, run),
        rows,
        tenant,
      );
      if (position === undefined) return undefined;
      return { position, startsBefore: before < 0 ? undefined : before, isPaused: isPaused === 1 };
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

type PlaceCommand = (...args: (string | number)[]) => Promise<number[]>;

import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { translateStoreError } from './store-error.ts';

export interface RedisWebhookSubscriptionsOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
}

/** Where scripts look before they write an event: in the slot of each partition, and in the fleet's, which all tenants share. */
interface Place {
  key: string;
  /** Of the fields there. */
  prefix: string;
}

/** Which endpoints want which types of events, for the scripts that write them. Types are text, with blanks between. */
export class RedisWebhookSubscriptions {
  readonly #options: RedisWebhookSubscriptionsOptions;
  /** What the last look found too much, and what it should be. */
  #excess: ReadonlyMap<string, string> = new Map();

  constructor(options: RedisWebhookSubscriptionsOptions) {
    this.#options = options;
  }

  /** '' ends the subscription. */
  async set(tenant: string, id: string, types: string): Promise<void> {
    await Promise.all(this.#places(tenant).map((place) => this.#setAt(place, id, types)));
  }

  /**
   * Makes the subscriptions of tenants what `wantedOf` says, types by endpoint: mends what a crash left, or a new partition
   * lacks. What is missing is added at once. What is too much may belong to a change that is under way, and is taken away when
   * it was too much at the last look as well. The tenants that have none.
   */
  async reconcile(
    tenants: readonly string[],
    wantedOf: (tenant: string) => Promise<ReadonlyMap<string, string>>,
  ): Promise<string[]> {
    const excess = new Map<string, string>();
    const without: string[] = [];
    for (const tenant of tenants) {
      const wanted = await wantedOf(tenant);
      let isAnyLeft = wanted.size > 0;
      for (const place of this.#places(tenant)) {
        const found = await this.#foundAt(place);
        isAnyLeft ||= found.size > 0;
        for (const id of new Set([...wanted.keys(), ...found.keys()])) {
          const mismatch = { is: found.get(id) ?? '', should: wanted.get(id) ?? '' };
          if (mismatch.is !== mismatch.should) await this.#mend(place, id, mismatch, excess);
        }
      }
      if (!isAnyLeft) without.push(tenant);
    }
    this.#excess = excess;
    return without;
  }

  async #mend(
    place: Place,
    id: string,
    { is, should }: { is: string; should: string },
    excess: Map<string, string>,
  ): Promise<void> {
    const name = `${place.key} ${place.prefix}${id}`;
    if (this.#excess.get(name) === `${is}=>${should}`) {
      await this.#setAt(place, id, should);
      return;
    }
    const both = union(is, should);
    excess.set(name, `${both}=>${should}`);
    if (both !== is) await this.#setAt(place, id, both);
  }

  #places(tenant: string): Place[] {
    const { keys, partitions } = this.#options;
    const ofJobs = Array.from({ length: partitions }, (_, partition) => ({
      key: keys.subscriptions(partition, tenant),
      prefix: '',
    }));
    return [...ofJobs, { key: keys.fleetSubscriptions, prefix: `${tenant} ` }];
  }

  async #foundAt({ key, prefix }: Place): Promise<ReadonlyMap<string, string>> {
    const found = await this.#guard(() => this.#options.redis.hgetall(key));
    const mine = Object.entries(found).filter(([field]) => field.startsWith(prefix));
    return new Map(mine.map(([field, types]) => [field.slice(prefix.length), types]));
  }

  async #setAt({ key, prefix }: Place, id: string, types: string): Promise<void> {
    const { redis } = this.#options;
    await this.#guard(() => (types === '' ? redis.hdel(key, prefix + id) : redis.hset(key, prefix + id, types)));
  }

  async #guard<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

/** `one` as it is when it has all of `other`. */
function union(one: string, other: string): string {
  const types = new Set(one.split(' ').filter((type) => type !== ''));
  const more = other.split(' ').filter((type) => type !== '' && !types.has(type));
  return more.length === 0 ? one : [...types, ...more].join(' ');
}

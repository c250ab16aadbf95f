import { canonicalJson, canonicalSha256 } from '../canonical-json.ts';
import { type BatchTrace, type Origin, origin, type Provenance } from '../job.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

/** What thousands of results have in common is stored once; they name it. */
export interface StoredOrigin {
  /** Follows from the content, so that an id can only ever mean one origin. */
  id: string;
  json: string;
}

const stored = new WeakMap<Origin, StoredOrigin>();

/** Reckoned once per object: workers keep one per version. */
export function storedOrigin(value: Origin): StoredOrigin {
  let known = stored.get(value);
  if (!known) {
    known = { id: canonicalSha256(value).slice(0, 16), json: canonicalJson(value) };
    stored.set(value, known);
  }
  return known;
}

/** Reads origins, each once. */
export class RedisOrigins {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #known = new Map<string, Origin>();

  constructor({ redis, keys }: { redis: RedisConnection; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** The whole provenance of a result; undefined when somebody has removed its origin. */
  async provenanceOf(
    partition: number,
    { origin: id, batch, run, attempt }: { origin: string; batch: BatchTrace; run: number; attempt: number },
  ): Promise<Provenance | undefined> {
    const found = this.#known.get(id) ?? (await this.#read(partition, id));
    return found && { ...found, ...batch, run, attempt };
  }

  async #read(partition: number, id: string): Promise<Origin | undefined> {
    const json = await this.#redis.hget(this.#keys.origins(partition), id);
    if (json === null) return undefined;
    const found = origin.parse(JSON.parse(json));
    this.#known.set(id, found);
    return found;
  }
}

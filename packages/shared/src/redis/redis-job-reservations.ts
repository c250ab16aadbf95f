import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { JobReservation, JobReservations } from '../ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { withStoreErrors } from './store-error.ts';

/** KEYS 1 reservation. ARGV 1 the reservation, 2 ttl ms. Returns the one that stands, which is not always this one. */
const RESERVE_LUA = `
local standing = redis.call('GET', KEYS[1])
if standing then return standing end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`;

const stored = z.object({ job_id: z.string(), body_sha256: z.string() });

export interface RedisJobReservationsOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  ttlMs: number;
}

/** Idempotency keys, in the slot of their tenant: each names the one job that is made of it. */
export class RedisJobReservations implements JobReservations {
  readonly #options: RedisJobReservationsOptions;

  constructor(options: RedisJobReservationsOptions) {
    this.#options = options;
    options.redis.defineCommand('onqueueReserve', { lua: RESERVE_LUA, numberOfKeys: 1 });
  }

  async find(tenant: string, key: string): Promise<JobReservation | undefined> {
    const { redis } = this.#options;
    const text = await withStoreErrors(() => redis.get(this.#keyOf(tenant, key)));
    return text === null ? undefined : toReservation(text);
  }

  async reserve(
    tenant: string,
    key: string,
    { jobId, bodySha256 }: JobReservation,
    maxTtlMs = Number.POSITIVE_INFINITY,
  ): Promise<JobReservation> {
    const ttlMs = Math.min(this.#options.ttlMs, maxTtlMs);
    const redis = this.#options.redis as RedisConnection & Record<'onqueueReserve', ReserveCommand>;
    const text = JSON.stringify({ job_id: jobId, body_sha256: bodySha256 });
    return toReservation(await withStoreErrors(() => redis.onqueueReserve(this.#keyOf(tenant, key), text, ttlMs)));
  }

  /** Hashed: the key is the client's, and may be anything of any alphabet. */
  #keyOf(tenant: string, key: string): string {
    return this.#options.keys.reservation(tenant, createHash('sha256').update(key).digest('hex'));
  }
}

type ReserveCommand = (key: string, reservation: string, ttlMs: number) => Promise<string>;

function toReservation(text: string): JobReservation {
  const { job_id, body_sha256 } = stored.parse(JSON.parse(text));
  return { jobId: job_id, bodySha256: body_sha256 };
}

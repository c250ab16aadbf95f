import type { RedisConnection } from '@onqueue/shared/redis';
import { z } from 'zod';
import { CallGatherer } from './call-gatherer.ts';
import { ADD_DELIVERIES, FEED, RECONCILE, SETTLE_ATTEMPTS } from './endpoint-shares-script.ts';
import { RedisClock } from './redis-clock.ts';

/** How much of the dispatchers one endpoint may hold. */
export interface EndpointLimits {
  /** Deliveries in flight to one endpoint, over all dispatchers. */
  concurrency: number;
  /** Deliveries a second to one endpoint; 0: as many as its concurrency lets through. */
  ratePerS: number;
  /** Failures in a row that open an endpoint's circuit. */
  circuitFailures: number;
  /** Milliseconds until an open circuit lets a probe through; twice as long after each probe that fails, up to `circuitOpenMaxMs`. */
  circuitOpenMs: number;
  circuitOpenMaxMs: number;
  /** Milliseconds of rest after the first 429, 502, 503 or 504 without a `Retry-After`; twice as long after each further one. */
  pauseMs: number;
}

const DEFAULT_ENDPOINT_LIMITS: EndpointLimits = {
  concurrency: 32,
  ratePerS: 0,
  circuitFailures: 10,
  circuitOpenMs: 10_000,
  circuitOpenMaxMs: 300_000,
  pauseMs: 1000,
};

/** A delivery as the shares see it. */
export interface SharedDelivery {
  /** The BullMQ job's id. */
  id: string;
  endpoint: string;
  name: string;
  data: string;
  opts: string;
  delayMs: number;
  /** Given when it goes to its endpoint after those of the same job that were added before. */
  job?: string | undefined;
  /** The endpoint's own limits, where it has any. */
  concurrency?: number | undefined;
  ratePerS?: number | undefined;
}

/** What an attempt says of its endpoint. `busy`: it asks for less; `neutral`: it is well, the delivery is not. */
export type EndpointSignal = 'good' | 'slow' | 'neutral' | 'busy' | 'failed';

export interface SettledAttempt {
  id: string;
  endpoint: string;
  /** Of the lock under which it was sent. */
  token: string;
  signal: EndpointSignal;
  /** Milliseconds until the next attempt; without it, the delivery is over. */
  retryMs?: number | undefined;
  /** For how long a busy endpoint has asked to be left alone. */
  pauseMs?: number | undefined;
  job?: string | undefined;
}

export interface EndpointSharesOptions {
  /** Shared with others if you like; not closed here. */
  redis: RedisConnection;
  /** How BullMQ's keys of the queue begin. */
  queueKeys: string;
  /** How ours begin; of the same slot. */
  shareKeys: string;
  limits?: Partial<EndpointLimits> | undefined;
  /** Jobs that BullMQ's wait list is filled up to. */
  feedLimit: number;
}

/** Longer than any pause and any circuit: state of an endpoint that gets nothing is forgotten then. */
const STATE_TTL_MS = 26 * 3600 * 1000;
const PAUSE_MAX_MS = 60_000;
const RETRY_AFTER_MAX_MS = 3600 * 1000;

const reply = z.tuple([z.coerce.number(), z.coerce.number(), z.string()]);

/** Where deliveries wait for their endpoints, in Redis: see endpoint-shares-script.ts. Every call feeds the queue. */
export class EndpointShares {
  readonly clock = new RedisClock();
  readonly #options: EndpointSharesOptions;
  readonly #limits: string;
  #onNextDue: (inMs: number | undefined) => void = () => {};
  readonly #additions: CallGatherer<SharedDelivery, undefined>;
  readonly #settlements: CallGatherer<SettledAttempt, boolean>;

  constructor(options: EndpointSharesOptions) {
    this.#options = options;
    const limits = { ...DEFAULT_ENDPOINT_LIMITS, ...options.limits };
    this.#limits = JSON.stringify({
      concurrency: limits.concurrency,
      rate_per_s: limits.ratePerS,
      circuit_failures: limits.circuitFailures,
      circuit_open_ms: limits.circuitOpenMs,
      circuit_open_max_ms: Math.max(limits.circuitOpenMs, limits.circuitOpenMaxMs),
      pause_ms: limits.pauseMs,
      pause_max_ms: Math.max(limits.pauseMs, PAUSE_MAX_MS),
      retry_after_max_ms: RETRY_AFTER_MAX_MS,
      state_ttl_ms: STATE_TTL_MS,
      feed_limit: options.feedLimit,
      // The other half is for those who are known to answer.
      suspects: Math.max(1, Math.floor(options.feedLimit / 2)),
    });
    this.#additions = new CallGatherer(async (deliveries): Promise<undefined[]> => {
      await this.#run(ADD_DELIVERIES, deliveries.map(toAddition));
      return [];
    });
    this.#settlements = new CallGatherer(async (attempts) =>
      z.array(z.boolean()).parse(await this.#run(SETTLE_ATTEMPTS, attempts.map(toSettlement))),
    );
  }

  /** Told after each call in how many milliseconds there is something to feed; undefined: nothing is parked for a time. */
  set onNextDue(listener: (inMs: number | undefined) => void) {
    this.#onNextDue = listener;
  }

  /** Durable when the promise resolves. A delivery whose id is known is dropped. Calls of one moment go together, in order. */
  add(delivery: SharedDelivery): Promise<void> {
    return this.#additions.call(delivery);
  }

  /** Whether it counted: false when the delivery is in other hands by now. */
  async settle(attempt: SettledAttempt): Promise<boolean> {
    return (await this.#settlements.call(attempt)) === true;
  }

  async feed(): Promise<void> {
    await this.#run(FEED);
  }

  /** How many slots it freed that a crash had left taken. */
  async reconcile(): Promise<number> {
    const [freed] = z.array(z.number()).parse(await this.#run(RECONCILE));
    return freed ?? 0;
  }

  async #run(script: string, items: readonly object[] = []): Promise<unknown> {
    const { redis, queueKeys, shareKeys } = this.#options;
    const command = commandOf(redis, script);
    const answer = await command(`${queueKeys}wait`, queueKeys, shareKeys, this.#limits, JSON.stringify(items));
    const [nowMs, nextDueMs, result] = reply.parse(answer);
    this.clock.set(nowMs);
    this.#onNextDue(nextDueMs < 0 ? undefined : nextDueMs);
    return JSON.parse(result);
  }
}

function toAddition({ id, endpoint, name, data, opts, delayMs, job, concurrency, ratePerS }: SharedDelivery): object {
  return { id, endpoint, name, data, opts, delay_ms: delayMs, job, concurrency, rate: ratePerS };
}

function toSettlement({ id, endpoint, token, signal, retryMs, pauseMs, job }: SettledAttempt): object {
  return { id, endpoint, token, signal, retry_ms: retryMs, pause_ms: pauseMs, job };
}

type Command = (...args: string[]) => Promise<unknown>;

const NAMES = new Map([
  [ADD_DELIVERIES, 'onqueueAddDeliveries'],
  [SETTLE_ATTEMPTS, 'onqueueSettleAttempts'],
  [FEED, 'onqueueFeedDeliveries'],
  [RECONCILE, 'onqueueReconcileDeliveries'],
]);

function commandOf(redis: RedisConnection, lua: string): Command {
  const name = NAMES.get(lua) ?? '';
  const commands = redis as unknown as Record<string, Command | undefined>;
  if (!commands[name]) redis.defineCommand(name, { lua, numberOfKeys: 1 });
  return (...args) => (commands[name] as Command).apply(redis, args);
}

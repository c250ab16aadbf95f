import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ClaimedJob, JobOutcome } from '@onqueue/shared';
import {
  isConnectionError,
  originArguments,
  RECORD_FUNCTIONS,
  type RedisConnection,
  type RedisKeys,
  SHARE_FUNCTIONS,
} from '@onqueue/shared/redis';
import { RENEW_LUA } from './scripts/renew.ts';
import { bindScript } from './scripts/script-call.ts';
import { SWAP_LUA } from './scripts/swap.ts';
import { SWEEP_STALLED_LUA } from './scripts/sweep-stalled.ts';
import { endedJob, type HeldJob, parseSwapReply, type SwapReply } from './swap-codec.ts';

export type Proof =
  | { isProven: true }
  /** `mayPass`: Redis could not serve at the moment, which says nothing about the scripts. */
  | { isProven: false; reason: string; mayPass: boolean };

export interface ProofOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partition: number;
  /** Others than the ones that are used, for tests. */
  swapLua?: string;
}

/**
 * Tries the scripts on keys of its own, in the partition's slot, before jobs are trusted to them: they contain BullMQ's
 * internal code, and another version of it, or another Redis, may have other ideas. Leaves nothing behind. Works in a
 * full Redis. Never rejects.
 */
export async function proveBatchScripts(options: ProofOptions): Promise<Proof> {
  for (const way of ['plain', 'bullmq'] as const) {
    const failure = await tryOut(new Trial(options, way));
    if (failure) return { isProven: false, ...failure, reason: `${way}: ${failure.reason}` };
  }
  return { isProven: true };
}

/** What is wrong, if anything. */
async function tryOut(trial: Trial): Promise<{ reason: string; mayPass: boolean } | undefined> {
  try {
    for (const [step, actual, expected] of await trial.run()) {
      if (isDeepStrictEqual(actual, expected)) continue;
      const reason = `${step}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`;
      return { reason, mayPass: false };
    }
    return undefined;
  } catch (error) {
    return { reason: (error as Error).message, mayPass: isConnectionError(error as Error) };
  } finally {
    await trial.cleanUp().catch(() => {}); // Whatever broke the connection is in the reason, and the keys are tiny.
  }
}

/** The script's own way with plain jobs (plain-jobs.ts), and BullMQ's code inside it, which takes all others. */
type Way = 'plain' | 'bullmq';

type Step = [name: string, actual: unknown, expected: unknown];

const IDS = ['committed', 'canceled', 'retried', 'handed-on', 'parked'] as const;
const MODEL = 'proof';

const QUEUE_KEYS = [
  'wait',
  'active',
  'prioritized',
  'events',
  'stalled',
  'stalled-check',
  'limiter',
  'delayed',
  'paused',
  'meta',
  'pc',
  'marker',
  'id',
  'completed',
  'metrics:completed',
  'metrics:completed:data',
  'repeat',
];
const LOCK_MS = 60_000;
const RETRY_MS = 60_000;
const OPTIONS = { attempts: 3, backoff: { type: 'fixed', delay: RETRY_MS, jitter: 0 } };

/** Records and queue jobs, one of which has been canceled, and one is parked; `bullmq` makes them others than plain. Begins with DEL, for a full Redis. */
const PREPARE_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
${SHARE_FUNCTIONS}
redis.call('DEL', KEYS[1])
if ARGV[5] == 'bullmq' then redis.call('HSET', ARGV[3] .. 'meta', 'concurrency', 1000) end
for i = 6, #ARGV do
  local id = ARGV[i]
  redis.call('HSET', recordKey('proof', id), 'state', id == 'canceled' and id or 'queued', 'run', 1, 'attempt', 0,
    'model', '${MODEL}', 'version', '1', 'lane', 'bulk', 'rows', 1, 'bytes', 2, 'queued_us', NOW_US, 'inputs', '[]',
    'request', '{"on_row_error":"fail","request_id":"proof","metadata":{}}')
  if id == 'parked' then
    redis.call('HSET', P .. 'backlog:${MODEL}', 'queue_options', ARGV[4])
    parkQueueJob('${MODEL}.bulk', 'proof', id .. '-1', 1, 0)
  else
    addQueueJobs(ARGV[3], {{id .. '-1', '{"tenant":"proof"}', NOW_MS}}, ARGV[4])
  end
  if ARGV[5] == 'bullmq' and id ~= 'parked' then redis.call('HSET', ARGV[3] .. id .. '-1', 'deid', 'proof') end
end
return #ARGV
`;

class Trial {
  readonly #redis: RedisConnection;
  readonly #partition: number;
  readonly #prefix: string;
  readonly #queuePrefix: string;
  readonly #swapLua: string;
  readonly #way: Way;

  constructor({ redis, keys, partition, swapLua = SWAP_LUA }: ProofOptions, way: Way) {
    this.#way = way;
    this.#redis = redis;
    this.#partition = partition;
    this.#prefix = `${keys.partition(partition)}proof-${randomBytes(6).toString('hex')}:`;
    this.#queuePrefix = `${this.#prefix}bull:${MODEL}.bulk:`;
    this.#swapLua = swapLua;
  }

  async run(): Promise<Step[]> {
    const prepare = bindScript(this.#redis, 'onqueueProofPrepare', PREPARE_LUA);
    const options = JSON.stringify(OPTIONS);
    await prepare(this.#key('scratch'), this.#prefix, LOCK_MS, this.#queuePrefix, options, this.#way, ...IDS);
    const first = await this.#swap(1, []);
    const repeat = await this.#swap(1, []);
    const [committed, retried, handedOn, parked] = first.claimed;
    const steps: Step[] = [
      ['claim', first.claimed.map(fenceOf), ['committed 1', 'retried 1', 'handed-on 1', 'parked 1']],
      ['repeat', repeat.claimed.map(fenceOf), first.claimed.map(fenceOf)],
      ['no faults', first.faults, []],
    ];
    if (!committed || !retried || !handedOn || !parked) return steps;
    steps.push(['renewal', await this.#renew([committed, { ...retried, token: 'foreign' }]), [1]]);
    const stale = { ...committed, job: { ...committed.job, attempt: 7 } };
    const second = await this.#swap(2, [
      [stale, SUCCESS],
      [committed, SUCCESS],
      [retried, { state: 'queued', spendsAttempt: true }],
      [handedOn, { state: 'queued', spendsAttempt: false }],
      [parked, SUCCESS],
    ]);
    const isSoon = second.delayedMs !== undefined && second.delayedMs <= RETRY_MS;
    steps.push(
      ['commit', second.commits.map(({ status }) => status), ['fenced', ...Array(4).fill('committed')]],
      ['no faults', second.faults, []],
      ['claim of nothing', [second.claimed, isSoon], [[], true]],
      ['sweep', await this.#sweep(), 0],
      ['state', await this.#state(), EXPECTED_STATE],
    );
    return steps;
  }

  async cleanUp(): Promise<void> {
    await this.#redis.del(
      ...IDS.flatMap((id) => [
        this.#key(`job:proof:${id}`),
        `${this.#queuePrefix}${id}-1`,
        `${this.#queuePrefix}${id}-1:lock`,
      ]),
      ...QUEUE_KEYS.map((name) => `${this.#queuePrefix}${name}`),
      ...[
        'scratch',
        'outbox',
        'due',
        `backlog:${MODEL}`,
        `predictions:${MODEL}`,
        'swap:proof',
        `shares:${MODEL}.bulk:turns`,
        `shares:${MODEL}.bulk:parked:proof`,
      ].map((name) => this.#key(name)),
    );
  }

  async #swap(number: number, ends: readonly [HeldJob, JobOutcome][]): Promise<SwapReply> {
    const swap = bindScript(this.#redis, 'onqueueProofSwap', this.#swapLua);
    const token = `proof:${number}`;
    const args = [this.#prefix, LOCK_MS, 0, this.#queuePrefix, 'proof', number, token, LOCK_MS, 10, 60, 10];
    const origins = originArguments(ends.map(([, outcome]) => outcome));
    const ended = ends.flatMap(([held, outcome]) => endedJob(held, outcome).arguments);
    const reply = await swap(this.#key('scratch'), ...args, ...origins, ...ended);
    return parseSwapReply(reply, { partition: this.#partition, token });
  }

  #renew(jobs: readonly HeldJob[]): Promise<unknown> {
    const renew = bindScript(this.#redis, 'onqueueProofRenew', RENEW_LUA);
    const args = jobs.flatMap(({ queueJobId, token, job }) => {
      return [this.#queuePrefix, queueJobId, token, job.tenant, job.id, job.run, job.attempt];
    });
    return renew(this.#key('scratch'), this.#prefix, LOCK_MS, ...args);
  }

  #sweep(): Promise<unknown> {
    const sweep = bindScript(this.#redis, 'onqueueProofSweep', SWEEP_STALLED_LUA);
    return sweep(this.#key('scratch'), 1, this.#queuePrefix);
  }

  /** Per job: what our record says, whether BullMQ has it, and the attempts that it counts. */
  async #state(): Promise<Record<string, unknown>> {
    const entries = IDS.map(async (id) => {
      const state = await this.#redis.hget(this.#key(`job:proof:${id}`), 'state');
      const isQueued = (await this.#redis.zscore(`${this.#queuePrefix}delayed`, `${id}-1`)) !== null;
      const hasLock = (await this.#redis.exists(`${this.#queuePrefix}${id}-1:lock`)) === 1;
      const attempts = await this.#redis.hget(`${this.#queuePrefix}${id}-1`, 'atm');
      return [id, [state, isQueued, hasLock, attempts]] as const;
    });
    const active = await this.#redis.llen(`${this.#queuePrefix}active`);
    return { ...Object.fromEntries(await Promise.all(entries)), active };
  }

  #key(name: string): string {
    return `${this.#prefix}${name}`;
  }
}

const SUCCESS: JobOutcome = { state: 'succeeded', results: [] };
const EXPECTED_STATE = {
  committed: ['succeeded', false, false, null],
  canceled: ['canceled', false, false, null],
  retried: ['queued', true, false, '1'],
  'handed-on': ['queued', true, false, null],
  parked: ['succeeded', false, false, null],
  active: 0,
};

function fenceOf({ job }: { job: ClaimedJob }): string {
  return `${job.id} ${job.attempt}`;
}

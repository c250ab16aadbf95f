import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import {
  type BatchTrace,
  type ClaimedJob,
  canMove,
  type JobOutcome,
  type JobRef,
  jobState,
  type NewJob,
  newJobId,
  type Origin,
  type RowResult,
} from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  queueJobId,
  type RedisConnection,
  RedisJobStore,
  RedisKeys,
} from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';
import { until } from './support/until.ts';

const LIMITS = { maxJobs: 100, maxRows: 1000, maxBytes: 100_000 };
const RETENTION_MS = 60_000;
const keys = new RedisKeys('oq');

let server: RedisServer;
let redis: RedisConnection;
let store: RedisJobStore;

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  store = new RedisJobStore({
    redis,
    keys,
    partitions: 1,
    retentionMs: RETENTION_MS,
    attempts: 3,
    retryDelayMs: 10,
    maxPredictions: 100,
  });
});

afterAll(async () => {
  await closeRedis(redis);
  await server.stop();
});

beforeEach(async () => {
  await redis.flushall();
});

const result: RowResult = { status: 'succeeded', output: { probability: 0.25 } };
const origin: Origin = {
  model: 'fraud',
  version: '1',
  artifact_sha256: 'a',
  preprocess_sha256: 'p',
  decision_policy_sha256: 'd',
  runtime: { name: 'onnxruntime-node', version: '1.30.0' },
  execution_provider: 'cpu',
};
const batch: BatchTrace = { batch_size: 1, batches: 1, worker: 'w' };
const success: JobOutcome = {
  state: 'succeeded',
  results: [result],
  origin,
  batch,
  timings: { batch_wait_ms: 0, preprocess_ms: 0.1, inference_ms: 0.2, postprocess_ms: 0.3 },
};

function newJob(changes: Partial<NewJob> = {}): NewJob {
  return {
    id: newJobId({ createdAtMs: Date.now(), partition: 0 }),
    tenant: 'default',
    partition: 0,
    model: 'fraud',
    version: '1',
    lane: 'interactive',
    inputs: [{ amount: 1 }],
    request: { on_row_error: 'fail', request_id: 'req_1', metadata: { order: 7 } },
    ...changes,
  };
}

function refOf({ id, tenant, partition }: NewJob): JobRef {
  return { id, tenant, partition, run: 1 };
}

async function enqueued(changes: Partial<NewJob> = {}): Promise<NewJob> {
  const job = newJob(changes);
  expect(await store.enqueue(job, LIMITS)).toMatchObject({ status: 'accepted' });
  return job;
}

async function claimed(job: NewJob): Promise<ClaimedJob> {
  const [claim] = await store.claim([refOf(job)]);
  if (claim?.status !== 'claimed') throw new Error('the claim got nothing');
  return claim.job;
}

const commit = async (job: ClaimedJob, outcome: JobOutcome) => (await store.commit([{ job, outcome }]))[0]?.status;

describe('enqueue', () => {
  test('writes the record and puts the job into the queue of its model and lane', async () => {
    const job = await enqueued({ lane: 'bulk' });
    expect(await store.read('default', job.id)).toMatchObject({
      schema_version: 2,
      id: job.id,
      state: 'queued',
      run: 1,
      attempt: 0,
      model: 'fraud',
      lane: 'bulk',
      rows: 1,
      request: { metadata: { order: 7 }, request_id: 'req_1' },
    });
    expect(await redis.lrange('oq:{0}:bull:fraud.bulk:wait', 0, -1)).toEqual([`${job.id}-1`]);
  });

  test('counts what waits in jobs, rows and bytes', async () => {
    await enqueued({ inputs: [{ amount: 1 }, { amount: 22 }] });
    await enqueued();
    expect(await store.backlog('fraud')).toMatchObject({
      jobs: 2,
      rows: 3,
      bytes: '[{"amount":1},{"amount":22}]'.length + '[{"amount":1}]'.length,
      finishedJobs: 0,
    });
    expect(await store.backlog('digits')).toMatchObject({ jobs: 0, rows: 0, bytes: 0 });
  });

  test('does the same job only once', async () => {
    const job = await enqueued();
    const first = await store.enqueue(job, LIMITS);
    expect(await store.enqueue(job, LIMITS)).toEqual(first);
    expect(await redis.llen('oq:{0}:bull:fraud.interactive:wait')).toBe(1);
    expect(await store.backlog('fraud')).toMatchObject({ jobs: 1 });
  });

  test.each([
    ['jobs', { ...LIMITS, maxJobs: 2 }, 2],
    ['rows', { ...LIMITS, maxRows: 4 }, 2],
    ['bytes', { ...LIMITS, maxBytes: 60 }, 2],
  ] as const)('accepts up to the cap of %s, and stores nothing beyond it', async (dimension, limits, fits) => {
    const inputs = [{ amount: 1 }, { amount: 2 }];
    for (let i = 0; i < fits; i++) {
      expect(await store.enqueue(newJob({ inputs }), limits)).toMatchObject({ status: 'accepted' });
    }
    const before = await redis.dbsize();
    const refused = newJob({ inputs });
    expect(await store.enqueue(refused, limits)).toMatchObject({
      status: 'backlog_full',
      dimension,
      backlog: { jobs: fits },
    });
    expect(await store.read('default', refused.id)).toBeNull();
    expect(await redis.dbsize()).toBe(before);
    // Another model's backlog is its own.
    expect(await store.enqueue(newJob({ model: 'digits', inputs }), limits)).toMatchObject({ status: 'accepted' });
  });

  test('refuses a job that would expire before those that come first are done, at best', async () => {
    for (let n = 0; n < 5; n++) await enqueued();
    const request = { on_row_error: 'fail' as const, request_id: 'req_1', expires_in_s: 0.4 };
    const refused = newJob({ request, msPerJob: 100 });
    expect(await store.enqueue(refused, LIMITS)).toEqual({ status: 'deadline_unmeetable', waitMs: 500 });
    expect(await store.read('default', refused.id)).toBeNull();
    for (const changes of [
      { msPerJob: 80 },
      { msPerJob: undefined },
      { msPerJob: 1e6, request: { ...request, delay_s: 9 } },
    ]) {
      expect(await store.enqueue(newJob({ request, ...changes }), LIMITS)).toMatchObject({ status: 'accepted' });
    }
    // Of what is parked, the tenant's own of no lower priority come first.
    await store.feed(0, [{ model: 'fraud', lane: 'interactive', limit: 1 }]);
    await enqueued({ tenant: 'other' });
    await enqueued({ request: { ...request, priority: -1 } });
    const waitMs = 700;
    const parked = newJob({ request, msPerJob: 100 });
    expect(await store.enqueue(parked, LIMITS)).toEqual({ status: 'deadline_unmeetable', waitMs });
  });

  test('tells the age of the oldest job that nobody has claimed', async () => {
    const [canceled, old] = [await enqueued(), await enqueued(), await enqueued()];
    const queue = `${keys.bullPrefix(0)}:fraud.interactive:`;
    for (const { id } of [canceled, old]) {
      await redis.hincrby(`${queue}${queueJobId(id, 1)}`, 'timestamp', -90_000);
    }
    await store.cancel('default', canceled.id);
    await redis.rpush(`${queue}wait`, queueJobId(canceled.id, 1)); // As out of a long list.
    const { oldestUnclaimed } = await store.backlog('fraud');
    expect(oldestUnclaimed.find(({ lane }) => lane === 'interactive')?.ageS).toBeGreaterThanOrEqual(89);
    expect(oldestUnclaimed.find(({ lane }) => lane === 'bulk')?.ageS).toBe(0);
  });
});

describe('read', () => {
  test('answers a foreign job, an unknown one and nonsense the same', async () => {
    const job = await enqueued();
    expect(await store.read('other', job.id)).toBeNull();
    expect(await store.read('default', newJobId({ createdAtMs: 1, partition: 0 }))).toBeNull();
    expect(await store.read('default', 'nonsense')).toBeNull();
  });
});

describe('claim', () => {
  test('takes many jobs at once and counts their attempts', async () => {
    const jobs = [await enqueued(), await enqueued({ inputs: [{ amount: 9 }] })];
    const claims = await store.claim(jobs.map(refOf));
    expect(claims).toMatchObject([
      { status: 'claimed', job: { attempt: 1, inputs: [{ amount: 1 }], model: 'fraud', run: 1 } },
      { status: 'claimed', job: { attempt: 1, inputs: [{ amount: 9 }] } },
    ]);
    expect(await claimed(jobs[0] as NewJob)).toMatchObject({ attempt: 2 });
    expect(await store.read('default', (jobs[0] as NewJob).id)).toMatchObject({ state: 'running', attempt: 2 });
  });

  test('finds nothing to do in a run that has ended, another run, or a job that is gone', async () => {
    const job = await enqueued();
    expect(await store.claim([{ ...refOf(job), run: 2 }])).toEqual([{ status: 'over' }]);
    await commit(await claimed(job), success);
    expect(await store.claim([refOf(job), refOf(newJob())])).toEqual([{ status: 'over' }, { status: 'over' }]);
  });
});

describe('a record that this version does not understand', () => {
  test('is told apart, and keeps none of its neighbours', async () => {
    const [odd, neighbour] = [await enqueued(), await enqueued()];
    await redis.hset(keys.job(0, 'default', odd.id), 'request', '{"on_row_error":"skip","request_id":"r"}');
    expect(await store.claim([refOf(odd), refOf(neighbour)])).toMatchObject([
      { status: 'unreadable' },
      { status: 'claimed', job: { id: neighbour.id } },
    ]);
  });
});

describe('a record of a newer version', () => {
  test('is told apart', async () => {
    const job = await enqueued();
    await redis.hset(keys.job(0, 'default', job.id), 'schema_version', 99);
    expect(await store.claim([refOf(job)])).toMatchObject([{ status: 'too_new', job: { id: job.id, attempt: 1 } }]);
  });
});

describe('a run that nobody holds', () => {
  const queuedIds = async () => {
    const queue = `${keys.bullPrefix(0)}:fraud.interactive:`;
    return [await redis.lrange(`${queue}wait`, 0, -1), await redis.keys(`${queue}job_*`)];
  };

  test('leaves nothing in the queue when it is canceled', async () => {
    const [canceled, other] = [await enqueued(), await enqueued()];
    await store.cancel('default', canceled.id);
    const left = queueJobId(other.id, 1);
    expect(await queuedIds()).toEqual([[left], [`${keys.bullPrefix(0)}:fraud.interactive:${left}`]]);
  });

  test('leaves nothing in the queue when it expires', async () => {
    const job = await enqueued({ request: { on_row_error: 'fail', request_id: 'r', expires_in_s: 0.001 } });
    await until('it expires', async () => {
      await store.sweep(0, 10);
      return (await store.read('default', job.id))?.state === 'expired';
    });
    expect(await queuedIds()).toEqual([[], []]);
  });
});

describe('a run that goes back without having been tried', () => {
  const handedOn: JobOutcome = { state: 'queued', spendsAttempt: false };
  const request = { on_row_error: 'fail', request_id: 'r' } as const;

  test('has not started: it expires as if nobody had claimed it', async () => {
    const job = await enqueued({ request: { ...request, expires_in_s: 0.2 } });
    expect(await commit(await claimed(job), handedOn)).toBe('committed');
    const queued = await store.read('default', job.id);
    expect(queued).toMatchObject({ state: 'queued' });
    expect(queued?.started_us).toBeUndefined();
    await until('it expires', async () => {
      await store.sweep(0, 10);
      return (await store.read('default', job.id))?.state === 'expired';
    });
  });

  test('begins its timeout with the next start', async () => {
    const job = await enqueued({ request: { ...request, timeout_s: 0.1 } });
    await commit(await claimed(job), handedOn);
    const queued = await store.read('default', job.id);
    await until('the first timeout would be over', async () => {
      const [seconds] = await redis.time();
      return Number(seconds) * 1e6 > Number(queued?.queued_us) + 1_200_000;
    });
    await store.sweep(0, 10);
    expect(await store.read('default', job.id)).toMatchObject({ state: 'queued' });
    expect((await claimed(job)).attempt).toBe(2);
  });

  test('keeps the start of an attempt that was tried before', async () => {
    const job = await enqueued({ request: { ...request, timeout_s: 600 } });
    await commit(await claimed(job), { state: 'queued', spendsAttempt: true });
    const { started_us: startedUs } = (await store.read('default', job.id)) ?? {};
    await commit(await claimed(job), handedOn);
    expect(startedUs).toBeDefined();
    expect((await store.read('default', job.id))?.started_us).toBe(startedUs);
  });
});

describe('commit', () => {
  test('ends the run: result, provenance, retention and counters together', async () => {
    const job = await enqueued();
    expect(await commit(await claimed(job), success)).toBe('committed');
    const record = await store.read('default', job.id);
    expect(record).toMatchObject({ state: 'succeeded', results: [result], attempt: 1 });
    expect(record?.provenance).toEqual({ ...origin, ...batch, run: 1, attempt: 1 });
    expect(record?.error).toBeUndefined();
    const key = keys.job(0, 'default', job.id);
    // Nobody runs it again.
    expect(await redis.hexists(key, 'inputs')).toBe(0);
    const ttl = await redis.pttl(key);
    expect(ttl).toBeGreaterThan(RETENTION_MS - 10_000);
    expect(ttl).toBeLessThanOrEqual(RETENTION_MS);
    expect(await store.backlog('fraud')).toMatchObject({
      jobs: 0,
      rows: 0,
      bytes: 0,
      finishedJobs: 1,
      finishedRows: 1,
    });
  });

  test('lets only the latest attempt in', async () => {
    const job = await enqueued();
    const first = await claimed(job);
    const second = await claimed(job);
    expect(await commit(first, success)).toBe('fenced');
    expect(await store.read('default', job.id)).toMatchObject({ state: 'running' });
    expect(await commit(second, { ...success, state: 'failed', error: { code: 'x', detail: 'y' } })).toBe('committed');
    expect(await commit(first, success)).toBe('fenced');
    expect(await store.read('default', job.id)).toMatchObject({ state: 'failed', error: { code: 'x' } });
  });

  test('takes its own repetition for done, and does nothing twice', async () => {
    const job = await enqueued({ request: { on_row_error: 'fail', request_id: 'r', webhook: 'https://example.com/' } });
    const attempt = await claimed(job);
    expect(await commit(attempt, success)).toBe('committed');
    expect(await commit(attempt, success)).toBe('committed');
    expect(await redis.xlen(keys.outbox(0))).toBe(1);
    expect(await store.backlog('fraud')).toMatchObject({ jobs: 0, finishedJobs: 1 });
  });

  test('hands a job back to the queue without ending it', async () => {
    const job = await enqueued();
    const attempt = await claimed(job);
    expect(await commit(attempt, { state: 'queued', spendsAttempt: true })).toBe('committed');
    expect(await commit(attempt, { state: 'queued', spendsAttempt: true })).toBe('committed');
    expect(await store.read('default', job.id)).toMatchObject({ state: 'queued', attempt: 1 });
    expect(await store.backlog('fraud')).toMatchObject({ jobs: 1 });
    expect(await claimed(job)).toMatchObject({ attempt: 2 });
  });

  test('writes the event to the outbox when somebody wants to be told', async () => {
    const told = await enqueued({
      request: { on_row_error: 'fail', request_id: 'r', webhook: 'https://example.com/hook' },
    });
    const untold = await enqueued();
    await store.commit(
      await Promise.all([told, untold].map(async (job) => ({ job: await claimed(job), outcome: success }))),
    );
    const entries = await redis.xrange(keys.outbox(0), '-', '+');
    expect(entries.map(([, [, event]]) => JSON.parse(event ?? ''))).toEqual([
      {
        schema_version: 1,
        id: expect.stringMatching(/^evt_/),
        type: 'job.succeeded',
        tenant: 'default',
        job_id: told.id,
        run: 1,
        occurred_at_ms: expect.any(Number),
        url: 'https://example.com/hook',
      },
    ]);
  });

  test('tells waiters the ids of all that ended in one message', async () => {
    const subscriber = connectRedis(server.url, { kind: 'subscriber' }, () => {});
    try {
      await subscriber.subscribe(keys.done(0));
      const message = new Promise<string>((resolve) => subscriber.on('message', (_channel, text) => resolve(text)));
      const jobs = [await enqueued(), await enqueued()];
      await store.commit(await Promise.all(jobs.map(async (job) => ({ job: await claimed(job), outcome: success }))));
      expect((await message).split(' ').toSorted()).toEqual(jobs.map(({ id }) => id).toSorted());
    } finally {
      await closeRedis(subscriber);
    }
  });

  test('moves a record only where the table of states allows', async () => {
    for (const from of jobState.options) {
      for (const to of ['succeeded', 'failed'] as const) {
        const job = await enqueued();
        const attempt = await claimed(job);
        await redis.hset(keys.job(0, 'default', job.id), 'state', from);
        // Committing the state that it has already is a repetition, not a move.
        const expected = canMove(from, to) || from === to ? 'committed' : 'fenced';
        expect([from, to, await commit(attempt, { ...success, state: to })]).toEqual([from, to, expected]);
      }
      const job = await enqueued();
      await redis.hset(keys.job(0, 'default', job.id), 'state', from);
      const [claim] = await store.claim([refOf(job)]);
      expect([from, claim?.status]).toEqual([from, canMove(from, 'running') ? 'claimed' : 'over']);
    }
  });
});

describe('a full Redis', () => {
  test('refuses new jobs without a trace, and lets claimed work end', async () => {
    const job = await enqueued();
    await redis.config('SET', 'maxmemory', '1');
    try {
      const refused = newJob();
      await expect(store.enqueue(refused, LIMITS)).rejects.toMatchObject({ code: 'storage_full' });
      expect(await store.read('default', refused.id)).toBeNull();
      expect(await store.backlog('fraud')).toMatchObject({ jobs: 1 });
      expect(await commit(await claimed(job), success)).toBe('committed');
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
    expect(await store.read('default', job.id)).toMatchObject({ state: 'succeeded' });
  });
});

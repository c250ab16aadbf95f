import { expect, test } from '@jest/globals';
import type { OutboxEvent } from '@onqueue/shared';
import type { OutboxEntry, OutboxReader } from '@onqueue/shared/redis';
import { OutboxRelay, type OutboxRelayOptions } from './outbox-relay.ts';
import type { WebhookDelivery, WebhookQueue } from './webhook-queue.ts';

const log = { info() {}, warn() {}, error() {} };
const onError = () => {};

type WebhookEvent = Extract<OutboxEvent, { schema_version: 1 }>;

function entry(id: string, event: Partial<WebhookEvent> = {}): OutboxEntry {
  return {
    entryId: `${id}-0`,
    event: {
      schema_version: 1,
      id: `evt_${id}`,
      type: 'job.succeeded',
      tenant: 'default',
      job_id: `job_${id}`,
      run: 1,
      occurred_at_ms: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      url: 'https://receiver.test/hook',
      ...event,
    },
  };
}

/** An outbox in memory. A read waits for entries until there are some, or the test is over. */
class FakeOutbox implements OutboxReader {
  readonly acknowledged: string[] = [];
  readonly reclaims: number[] = [];
  leftBehind: OutboxEntry[] = [];
  failures: Error[] = [];
  #fresh: OutboxEntry[] = [];
  #isOver = false;
  #wake = () => {};
  #onAcknowledge = () => {};

  push(...entries: OutboxEntry[]): void {
    this.#fresh.push(...entries);
    this.#wake();
  }

  async read(count: number): Promise<OutboxEntry[]> {
    const failure = this.failures.shift();
    if (failure) throw failure;
    if (this.#fresh.length === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#fresh.splice(0, count);
  }

  async reclaim(minIdleMs: number, count: number): Promise<OutboxEntry[]> {
    this.reclaims.push(minIdleMs);
    return this.leftBehind.splice(0, count);
  }

  async acknowledge(entryIds: readonly string[]): Promise<void> {
    this.acknowledged.push(...entryIds);
    this.#onAcknowledge();
  }

  untilAcknowledged(n: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onAcknowledge = () => this.acknowledged.length >= n && resolve();
      this.#onAcknowledge();
    });
  }

  interrupt(): void {
    this.#isOver = true;
    this.#wake();
  }
}

class FakeQueue implements WebhookQueue {
  readonly deliveries: WebhookDelivery[] = [];
  fault: (delivery: WebhookDelivery) => Error | undefined = () => undefined;

  async add(delivery: WebhookDelivery): Promise<void> {
    const error = this.fault(delivery);
    if (error) throw error;
    this.deliveries.push(delivery);
  }

  async close(): Promise<void> {}
}

/** Runs a relay for as long as `during` takes. */
async function relaying(
  { outbox, queue = new FakeQueue(), ...options }: Partial<OutboxRelayOptions> & { outbox: FakeOutbox },
  during: (queue: FakeQueue) => Promise<void>,
): Promise<void> {
  const relay = new OutboxRelay({
    outbox,
    queue,
    log,
    onError,
    readJob: async (_tenant, id) => ({ view: jobView(id) }),
    ...options,
  });
  relay.start();
  try {
    await during(queue as FakeQueue);
  } finally {
    await relay.stop();
  }
}

const jobView = (id: string) => ({
  id,
  object: 'job',
  status: 'succeeded',
  model: 'fraud',
  request_id: `req_${id}`,
  run: 1,
  results: [{ status: 'succeeded', output: { label: 'ok' } }],
  urls: { self: `/jobs/${id}` },
});

/** A clock whose timers fire at once; it notes what they were asked for. */
function hurriedClock() {
  const waits: number[] = [];
  return {
    waits,
    now: () => performance.now(),
    setTimeout(callback: () => void, ms: number) {
      waits.push(ms);
      const immediate = setImmediate(callback);
      return { cancel: () => clearImmediate(immediate) };
    },
  };
}

test('an event becomes a delivery of the job as the API shows it, then it is acknowledged', async () => {
  const outbox = new FakeOutbox();
  outbox.push(entry('a'));
  await relaying({ outbox }, async ({ deliveries }) => {
    await outbox.untilAcknowledged(1);
    const [delivery] = deliveries;
    expect(delivery).toMatchObject({
      schema_version: 1,
      event_id: 'evt_a',
      type: 'job.succeeded',
      tenant: 'default',
      job_id: 'job_a',
      url: 'https://receiver.test/hook',
      request_id: 'req_job_a',
      model: 'fraud',
      occurred_at_ms: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    });
    expect(JSON.parse(delivery?.body ?? '')).toEqual({
      type: 'job.succeeded',
      timestamp: '2026-01-02T03:04:05.678Z',
      data: jobView('job_a'),
    });
    expect(outbox.acknowledged).toEqual(['a-0']);
  });
});

test('a body above 20 KB goes without the results and says so', async () => {
  const outbox = new FakeOutbox();
  outbox.push(entry('big'));
  const results = Array.from({ length: 1000 }, () => ({ status: 'succeeded', output: { label: 'größer' } }));
  await relaying(
    { outbox, readJob: async (_, id) => ({ view: { ...jobView(id), results } }) },
    async ({ deliveries }) => {
      await outbox.untilAcknowledged(1);
      const body = deliveries[0]?.body ?? '';
      expect(Buffer.byteLength(body)).toBeLessThan(20 * 1024);
      expect(JSON.parse(body).data).toEqual({
        ...jobView('job_big'),
        results: null,
        results_truncated: true,
        urls: { self: '/jobs/job_big' },
      });
    },
  );
});

test.each([
  ['is past its retention', null],
  ['runs again', { ...jobView('job_x'), run: 2, status: 'running' }],
])('the event of a job that %s tells what is certain', async (_, view) => {
  const outbox = new FakeOutbox();
  outbox.push(entry('x', { type: 'job.failed' }));
  await relaying({ outbox, readJob: async () => view && { view } }, async ({ deliveries }) => {
    await outbox.untilAcknowledged(1);
    expect(JSON.parse(deliveries[0]?.body ?? '')).toMatchObject({
      type: 'job.failed',
      data: { id: 'job_x', object: 'job', status: 'failed' },
    });
  });
});

test.each([
  ['runs once more', { status: 'running' }],
  ['ended otherwise', { status: 'failed' }],
  ['is back in the run before', { run: 0, status: 'failed' }],
])('the event of an end that Redis has lost is dropped: its job %s', async (_what, now) => {
  const outbox = new FakeOutbox();
  outbox.push(entry('lost'), entry('kept'));
  const readJob = async (_tenant: string, id: string) => ({
    view: { ...jobView(id), ...(id === 'job_lost' ? now : {}) },
  });
  await relaying({ outbox, readJob }, async (queue) => {
    await outbox.untilAcknowledged(2);
    expect(queue.deliveries.map(({ job_id }) => job_id)).toEqual(['job_kept']);
  });
});

test('what a dead relay left behind is taken first, at start', async () => {
  const outbox = new FakeOutbox();
  outbox.leftBehind = [entry('old')];
  outbox.push(entry('new'));
  await relaying({ outbox, reclaimIdleMs: 1234 }, async ({ deliveries }) => {
    await outbox.untilAcknowledged(2);
    expect(deliveries.map((delivery) => delivery.event_id)).toEqual(['evt_old', 'evt_new']);
    expect(outbox.reclaims[0]).toBe(1234);
  });
});

test('it looks for left entries again when it is time, and at once after a full hand', async () => {
  const outbox = new FakeOutbox();
  outbox.leftBehind = [entry('1'), entry('2'), entry('3')];
  let nowMs = 0;
  const clock = { ...hurriedClock(), now: () => nowMs };
  await relaying({ outbox, clock, count: 2, reclaimEveryMs: 10_000 }, async () => {
    outbox.push(entry('4'));
    await outbox.untilAcknowledged(4);
    expect(outbox.reclaims).toHaveLength(2);
    nowMs = 9_999;
    outbox.push(entry('5'));
    await outbox.untilAcknowledged(5);
    outbox.push(entry('6'));
    await outbox.untilAcknowledged(6);
    expect(outbox.reclaims).toHaveLength(2);
    nowMs = 10_000;
    outbox.push(entry('7'));
    await outbox.untilAcknowledged(7);
    outbox.push(entry('8'));
    await outbox.untilAcknowledged(8);
    expect(outbox.reclaims).toHaveLength(3);
  });
});

test('an entry that cannot be queued stays in the outbox and holds up no other', async () => {
  const outbox = new FakeOutbox();
  const queue = new FakeQueue();
  queue.fault = ({ event_id }) => (event_id === 'evt_bad' ? new Error('READONLY') : undefined);
  outbox.push(entry('a'), entry('bad'), entry('b'));
  await relaying({ outbox, queue, clock: hurriedClock() }, async () => {
    await outbox.untilAcknowledged(2);
    outbox.push(entry('c'));
    await outbox.untilAcknowledged(3);
    expect(outbox.acknowledged).toEqual(['a-0', 'b-0', 'c-0']);
  });
});

test('an entry whose job cannot be read stays in the outbox', async () => {
  const outbox = new FakeOutbox();
  const readJob = async (_: string, id: string) => {
    if (id === 'job_bad') throw new Error('store away');
    return { view: jobView(id) };
  };
  outbox.push(entry('bad'), entry('a'));
  await relaying({ outbox, readJob, clock: hurriedClock() }, async ({ deliveries }) => {
    await outbox.untilAcknowledged(1);
    expect(deliveries.map((delivery) => delivery.event_id)).toEqual(['evt_a']);
    expect(outbox.acknowledged).toEqual(['a-0']);
  });
});

test('while Redis is away it waits ever longer, up to five seconds, and goes on afterwards', async () => {
  const outbox = new FakeOutbox();
  const clock = hurriedClock();
  outbox.failures = Array.from({ length: 8 }, () => new Error('Connection is closed.'));
  outbox.push(entry('a'));
  await relaying({ outbox, clock }, async () => {
    await outbox.untilAcknowledged(1);
    expect(clock.waits).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });
});

test('stop ends a pause', async () => {
  const outbox = new FakeOutbox();
  let beginPause = () => {};
  const isPausing = new Promise<void>((resolve) => {
    beginPause = resolve;
  });
  let isCanceled = false;
  const clock = {
    now: () => 0,
    setTimeout() {
      beginPause();
      return {
        cancel() {
          isCanceled = true;
        },
      };
    },
  };
  outbox.failures = [new Error('away')];
  await relaying({ outbox, clock }, () => isPausing);
  expect(isCanceled).toBe(true);
});

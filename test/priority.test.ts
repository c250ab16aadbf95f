import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome } from '@onqueue/shared';
import { HeldHandler, SourceBench, type SourceKind, success } from './support/job-source-bench.ts';
import { until } from './support/until.ts';

/** Of a tenant's jobs that wait for their turn, those of a higher priority go first. */

let bench: SourceBench;

beforeAll(async () => {
  bench = await SourceBench.start();
});

afterAll(async () => {
  await bench?.close();
});

afterEach(async () => {
  await bench.reset();
});

const request = (priority: number) => ({
  request: { on_row_error: 'fail' as const, request_id: 'req_1', ...(priority === 0 ? {} : { priority }) },
});

/** Jobs that fill the wait list, so that what comes later is parked. */
async function fillWaitList(): Promise<string[]> {
  const ids: string[] = [];
  while ((await bench.parked()) === 0) ids.push(await bench.enqueue());
  return ids;
}

function noting(): { handler: (job: ClaimedJob) => Promise<JobOutcome>; order: string[] } {
  const order: string[] = [];
  return {
    order,
    handler: async ({ id }) => {
      order.push(id);
      return success;
    },
  };
}

describe.each<[SourceKind]>([['stock'], ['batch']])('from the %s source', (kind) => {
  test('by priority, and within one by arrival; what is next already is not overtaken', async () => {
    const first = await fillWaitList();
    const parked: { id: string; priority: number }[] = [];
    for (const priority of [0, -5, 5, 2, 0, 5, -1, 2, -5]) {
      parked.push({ id: await bench.enqueue(request(priority)), priority });
    }
    const { handler, order } = noting();
    bench.source(kind, { handler, concurrency: 1 });
    await until('all have run', () => order.length === first.length + parked.length);
    const byPriority = parked.toSorted((a, b) => b.priority - a.priority).map(({ id }) => id);
    expect(order.slice(0, first.length - 1)).toEqual(first.slice(0, -1));
    // The last one of the first was parked too, before all others of priority 0.
    const normal = parked.findIndex(({ priority }) => priority === 0);
    const at = byPriority.indexOf(String(parked[normal]?.id));
    expect(order.slice(first.length - 1)).toEqual(byPriority.toSpliced(at, 0, String(first.at(-1))));
  });

  test('it gives a tenant no more than its share', async () => {
    await fillWaitList();
    for (let n = 0; n < 20; n++) await bench.enqueue({ tenant: 'urgent', ...request(5) });
    for (let n = 0; n < 20; n++) await bench.enqueue({ tenant: 'patient', ...request(-5) });
    const served: string[] = [];
    const handler = async (job: ClaimedJob): Promise<JobOutcome> => {
      served.push(job.tenant);
      return success;
    };
    bench.source(kind, { handler, concurrency: 1 });
    const ofBoth = () => served.filter((tenant) => tenant !== 'default');
    await until('half of them have run', () => ofBoth().length >= 20);
    const urgent = ofBoth()
      .slice(0, 20)
      .filter((tenant) => tenant === 'urgent').length;
    expect(Math.abs(urgent - 10)).toBeLessThanOrEqual(1);
  });
});

test('a retried job keeps its priority, and a canceled one leaves nothing behind', async () => {
  await fillWaitList();
  const [canceled, again] = [await bench.enqueue(request(3)), await bench.enqueue(request(4))];
  await bench.store.cancel('default', canceled);
  await bench.store.cancel('default', again);
  await bench.store.retry('default', again, { maxJobs: 1e6, maxRows: 1e6, maxBytes: 1e9 });
  const parked = await bench.redis.zrange('oq:{0}:shares:fraud.interactive:parked:default', '0', '-1');
  expect(parked[0]).toBe(`${again}-2 1`);
  expect(parked.some((member) => member.startsWith(canceled))).toBe(false);
});

test('the age of the oldest one that waits is that of the oldest of any priority', async () => {
  const held = new HeldHandler();
  bench.source('batch', { handler: held.handler });
  await held.called(0);
  await bench.queue().pause();
  await fillWaitList();
  await bench.enqueue(request(5));
  const wait = 'oq:{0}:bull:fraud.interactive:wait';
  await bench.redis.del(wait);
  const age = async () => {
    const { oldestUnclaimed } = await bench.store.backlog('fraud');
    return oldestUnclaimed.find(({ lane }) => lane === 'interactive')?.ageS ?? 0;
  };
  await until('it is older than a millisecond', async () => (await age()) > 0);
  expect(await age()).toBeLessThan(60);
  held.release();
});

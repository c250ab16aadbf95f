import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome } from '@onqueue/shared';
import type { Attempt } from '../apps/worker/src/queue/job-source.ts';
import { failure, SourceBench, type SourceKind } from './support/job-source-bench.ts';

/** `retries` of a job goes before what is configured, which is three attempts here. */

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

describe.each<[SourceKind]>([['stock'], ['batch']])('from the %s source', (kind) => {
  test.each([
    [undefined, 3],
    [0, 1],
    [1, 2],
    [5, 6],
  ])('a job with retries %s has %i attempts', async (retries, attempts) => {
    const seen: boolean[] = [];
    const handler = async (_job: ClaimedJob, { isLast }: Attempt): Promise<JobOutcome> => {
      seen.push(isLast);
      return isLast ? failure : { state: 'queued', spendsAttempt: true };
    };
    bench.source(kind, { handler });
    const request = { on_row_error: 'fail' as const, request_id: 'r', ...(retries === undefined ? {} : { retries }) };
    const id = await bench.enqueue({ request });
    expect(await bench.ended(id)).toMatchObject({ state: 'failed', attempt: attempts });
    expect(seen).toEqual([...Array(attempts - 1).fill(false), true]);
  });
});

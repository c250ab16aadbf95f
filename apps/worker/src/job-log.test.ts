import { expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome } from '@onqueue/shared';
import type { Logger } from 'pino';
import { logJobEnd } from './job-log.ts';
import { WorkerMetrics } from './metrics.ts';

const job: ClaimedJob = {
  id: 'job_x',
  tenant: 'default',
  partition: 0,
  run: 1,
  attempt: 1,
  model: 'fraud',
  version: '1',
  lane: 'interactive',
  inputs: [{ amount: 12345 }],
  request: { on_row_error: 'fail', request_id: 'req_x' },
  queuedMs: 1.0004,
  claimedUs: '1',
};
const outcome: JobOutcome = {
  state: 'succeeded',
  results: [{ status: 'succeeded', output: { probability: 0.5 } }],
  timings: { batch_wait_ms: 2.107834999995248, preprocess_ms: 0.1, inference_ms: 0.25, postprocess_ms: 0.01 },
};

function log(storeMs?: number) {
  const lines: Record<string, unknown>[] = [];
  const logger = { isLevelEnabled: () => true, info: (fields: never) => lines.push(fields) } as unknown as Logger;
  const metrics = new WorkerMetrics();
  logJobEnd({ logger, metrics }, job, outcome, storeMs);
  return { lines, metrics };
}

test('says where the time went to the microsecond, and nothing of the rows', () => {
  const { lines } = log(0.80051);
  expect(lines).toEqual([
    {
      job_id: 'job_x',
      request_id: 'req_x',
      tenant: 'default',
      model: 'fraud',
      version: '1',
      lane: 'interactive',
      run: 1,
      attempt: 1,
      status: 'succeeded',
      rows: { succeeded: 1, failed: 0 },
      queue_ms: 1,
      batch_wait_ms: 2.108,
      preprocess_ms: 0.1,
      inference_ms: 0.25,
      postprocess_ms: 0.01,
      store_ms: 0.801,
    },
  ]);
});

test('observes every phase once, and leaves out what is not known', async () => {
  const phases = async (metrics: WorkerMetrics) =>
    (await metrics.phaseDuration.get()).values
      .filter(({ metricName }) => metricName?.endsWith('_count'))
      .map(({ labels, value }) => [labels.phase, value]);
  const known = ['queue', 'batch_wait', 'preprocess', 'inference', 'postprocess'].map((phase) => [phase, 1]);
  expect(await phases(log().metrics)).toEqual(known);
  expect(await phases(log(1).metrics)).toEqual([...known, ['store', 1]]);
});

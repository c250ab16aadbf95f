import { describe, expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome, RowResult } from '@onqueue/shared';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import type { BatchedRowOutcome } from './batching/dynamic-batcher.ts';
import { HaltSignal } from './batching/halt-signal.ts';
import { JobScorer, type JobScorerOptions, type ServedVersion } from './job-scorer.ts';
import type { Attempt } from './queue/job-source.ts';
import { RetryBudget } from './resilience/retry-budget.ts';

const origin: ServedVersion['origin'] = {
  model: 'fraud',
  version: '1',
  artifact_sha256: 'a',
  preprocess_sha256: 'p',
  decision_policy_sha256: 'd',
  runtime: { name: 'onnxruntime-node', version: '1.30.0' },
  execution_provider: 'cpu',
};

const halt = new HaltSignal();
const attempt: Attempt = { isLast: false, isSuspect: false };
const lastAttempt: Attempt = { isLast: true, isSuspect: false };
const ok: RowResult = { status: 'succeeded', output: { probability: 0.5 } };
const bad: RowResult = { status: 'failed', error: { code: 'invalid_image', detail: 'cannot be decoded' } };

function outcome(result: RowResult, { startedAtMs = 0, size = 2, isRetryable = false } = {}): BatchedRowOutcome {
  return {
    result,
    isRetryable,
    batchWaitMs: startedAtMs,
    batch: { size, startedAtMs, timings: { preprocess_ms: 1, inference_ms: 2, postprocess_ms: 3 } },
  };
}

const CLOSED: ServedVersion['circuit'] = { state: 'closed', whenAdmitting: async () => true };
const memory: ServedVersion['memory'] = { isReusing: false, keyOf: () => '', remember: async () => {} };
const NONE: ServedVersion['fallbacks'] = {
  isEmpty: true,
  isLastWord: false,
  answer: () => Promise.reject(new Error('There are none.')),
};
const OPEN: ServedVersion['circuit'] = { state: 'open', whenAdmitting: async () => false };

function job(onRowError: 'fail' | 'continue' = 'fail', version = '1'): ClaimedJob {
  return {
    id: 'job_x',
    tenant: 'default',
    partition: 0,
    run: 1,
    attempt: 2,
    model: 'fraud',
    version,
    lane: 'interactive',
    inputs: [{ a: 1 }, { a: 2 }],
    request: { on_row_error: onRowError, request_id: 'req' },
    queuedMs: 1,
    claimedUs: '1',
  };
}

function scorer(rows: BatchedRowOutcome[], options: Partial<JobScorerOptions> = {}): JobScorer {
  const served = { origin, submit: async () => rows, circuit: CLOSED, fallbacks: NONE, memory };
  return new JobScorer({
    versions: new Map([['1', served]]),
    worker: 'w',
    versionWaitMs: 1000,
    unavailableWaitMs: 5000,
    retries: { countFirstAttempt: () => {}, trySpend: () => true },
    onRetryRefused: () => {},
    onBug: () => {},
    ...options,
  });
}

describe('JobScorer', () => {
  test('names the execution provider of the batch, where that is another than the version began with', async () => {
    const row = outcome(ok);
    const onCuda = { ...row, batch: { ...row.batch, executionProvider: 'cuda' as const } };
    expect(await scorer([onCuda, onCuda]).score(job(), attempt, halt)).toMatchObject({
      origin: { ...origin, execution_provider: 'cuda' },
    });
  });

  test('succeeds when every row did, and says what made the result', async () => {
    const batches = [outcome(ok, { startedAtMs: 9, size: 1 }), outcome(ok, { startedAtMs: 2, size: 64 })];
    expect(await scorer(batches).score(job(), attempt, halt)).toEqual({
      state: 'succeeded',
      results: [ok, ok],
      // Of the row that ended last.
      origin,
      batch: { batch_size: 1, batches: 2, worker: 'w' },
      timings: { batch_wait_ms: 9, preprocess_ms: 1, inference_ms: 2, postprocess_ms: 3 },
      prediction: {
        schema_version: 1,
        job_id: 'job_x',
        run: 1,
        tenant: 'default',
        request_id: 'req',
        latency_ms: 15,
        scores: [{ probability: 0.5 }, { probability: 0.5 }],
      },
    });
  });

  test('fails with the first failed row by default', async () => {
    expect(await scorer([outcome(ok), outcome(bad)]).score(job(), attempt, halt)).toMatchObject({
      state: 'failed',
      results: [ok, bad],
      error: { code: 'invalid_image', detail: 'Row 1 of 2 failed: cannot be decoded', row: 1 },
    });
  });

  test('succeeds in spite of failed rows with on_row_error: continue', async () => {
    const ended = await scorer([outcome(ok), outcome(bad)]).score(job('continue'), attempt, halt);
    expect(ended).toMatchObject({ state: 'succeeded', results: [ok, bad] });
    expect(ended).not.toHaveProperty('error');
  });

  test('queues the job again when a row failed for a reason that may pass, until the last attempt', async () => {
    const rows = [outcome(ok), outcome(bad, { isRetryable: true })];
    expect(await scorer(rows).score(job('continue'), attempt, halt)).toEqual({ state: 'queued', spendsAttempt: true });
    expect(await scorer(rows).score(job('fail'), lastAttempt, halt)).toMatchObject({ state: 'failed' });
  });

  test('fails what may pass when the retries of the model are used up, and says so', async () => {
    const refused: string[] = [];
    const crashed: RowResult = { status: 'failed', error: { code: 'runner_crashed', detail: 'It died.' } };
    const retries = new RetryBudget({ percent: 0, floor: 1, clock: new ManualClock() });
    const onRetryRefused = ({ id }: ClaimedJob) => refused.push(id);
    const strict = scorer([outcome(ok), outcome(crashed, { isRetryable: true })], { retries, onRetryRefused });
    expect(await strict.score(job(), attempt, halt)).toEqual({ state: 'queued', spendsAttempt: true });
    expect(refused).toEqual([]);
    expect(await strict.score(job(), attempt, halt)).toMatchObject({
      state: 'failed',
      results: [ok, { error: { code: 'runner_crashed' } }],
      error: { code: 'runner_crashed', detail: expect.stringMatching(/It died.*used up its retries/) },
    });
    expect(refused).toEqual(['job_x']);
  });

  test('counts an attempt against the budget only when it is the first', async () => {
    let firstAttempts = 0;
    const retries = { countFirstAttempt: () => firstAttempts++, trySpend: () => true };
    const counting = scorer([outcome(ok)], { retries });
    await counting.score(job(), attempt, halt);
    await counting.score(job(), { isLast: true, isSuspect: true }, halt);
    expect(firstAttempts).toBe(1);
  });

  const waits: JobOutcome = { state: 'queued', spendsAttempt: false, delayMs: 1000 };

  test('does not compute a job whose circuit is open: it waits, whatever the attempt, until that takes too long', async () => {
    const submit = () => Promise.reject(new Error('It was computed.'));
    const versions = new Map([['1', { origin, submit, circuit: OPEN, fallbacks: NONE, memory }]]);
    for (const either of [attempt, lastAttempt]) {
      expect(await scorer([], { versions }).score({ ...job(), queuedMs: 4999 }, either, halt)).toEqual(waits);
    }
    expect(await scorer([], { versions }).score({ ...job(), queuedMs: 5000 }, attempt, halt)).toMatchObject({
      state: 'failed',
      results: [{ error: { code: 'model_unavailable' } }, { error: { code: 'model_unavailable' } }],
      error: { code: 'model_unavailable', detail: expect.stringContaining('waited 5 s') },
    });
  });

  test('holds a job for a part of its timeout only, which has begun', async () => {
    const holds: number[] = [];
    const whenAdmitting = async (_: HaltSignal, maxMs: number) => holds.push(maxMs) > 0;
    const circuit: ServedVersion['circuit'] = { state: 'open', whenAdmitting };
    const holding = scorer([outcome(ok)], {
      versions: new Map([['1', { origin, submit: async () => [], circuit, fallbacks: NONE, memory }]]),
    });
    const request = { ...job().request, timeout_s: 4 };
    await holding.score({ ...job(), request }, attempt, halt);
    await holding.score(job(), attempt, halt);
    expect(holds).toEqual([1000, 2000]);
  });

  test('lets a job wait whose model turns out to be at fault: no attempt is spent', async () => {
    const unavailable: RowResult = { status: 'failed', error: { code: 'model_unavailable', detail: 'No runner.' } };
    const rows = [outcome(ok), outcome(unavailable, { isRetryable: true })];
    expect(await scorer(rows).score(job(), lastAttempt, halt)).toEqual(waits);
    const shouting = scorer(rows, { toClients: (text) => text.toUpperCase() });
    expect(await shouting.score({ ...job(), queuedMs: 5000 }, attempt, halt)).toMatchObject({
      state: 'failed',
      error: { code: 'model_unavailable', detail: 'The job waited 5 s for its model. NO RUNNER.' },
    });
  });

  test('hands a version that it has not on to other workers, whatever the attempt, until that takes too long', async () => {
    const elsewhere = job('fail', '7');
    for (const either of [attempt, lastAttempt]) {
      expect(await scorer([]).score({ ...elsewhere, queuedMs: 999 }, either, halt)).toEqual({
        state: 'queued',
        spendsAttempt: false,
      });
    }
    expect(await scorer([]).score({ ...elsewhere, queuedMs: 1000 }, attempt, halt)).toMatchObject({
      state: 'failed',
      error: { code: 'model_unavailable' },
    });
  });

  test('computes a job of a version that is loaded for it, and hands it on when that did not come to be', async () => {
    const served = { origin, submit: async () => [outcome(ok), outcome(ok)], circuit: CLOSED, fallbacks: NONE, memory };
    const summoned: string[] = [];
    const summon = async (version: string) => {
      summoned.push(version);
      return version === '2' ? served : undefined;
    };
    const withSummon = scorer([], { summon });
    expect((await withSummon.score(job('fail', '2'), attempt, halt)).state).toBe('succeeded');
    expect(await withSummon.score(job('fail', '3'), attempt, halt)).toEqual({ state: 'queued', spendsAttempt: false });
    expect(summoned).toEqual(['2', '3']);
  });

  test('fails a job at once whose version no worker takes jobs for any more', async () => {
    const gone = scorer([], { isGone: async (version) => version === '3' });
    expect(await gone.score(job('fail', '3'), attempt, halt)).toMatchObject({
      state: 'failed',
      error: { code: 'version_gone', detail: expect.stringContaining('Version 3') },
    });
    expect(await gone.score(job('fail', '4'), attempt, halt)).toEqual({ state: 'queued', spendsAttempt: false });
  });

  test('ends a job that breaks us: queued again while there are attempts, then failed', async () => {
    const bugs: unknown[] = [];
    const broken = scorer([], {
      versions: new Map([
        [
          '1',
          {
            origin,
            circuit: CLOSED,
            fallbacks: NONE,
            memory,
            submit: () => Promise.reject(new Error('This is a bug.')),
          },
        ],
      ]),
      onBug: (error) => bugs.push(error),
    });
    expect(await broken.score(job(), attempt, halt)).toEqual({ state: 'queued', spendsAttempt: true });
    expect(await broken.score(job(), lastAttempt, halt)).toMatchObject({
      state: 'failed',
      error: { code: 'internal_error' },
    });
    expect(bugs).toHaveLength(2);
  });
});

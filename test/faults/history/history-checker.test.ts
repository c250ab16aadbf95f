import { describe, expect, test } from '@jest/globals';
import { checkHistory, type Rule } from './history-checker.ts';

type Line = Record<string, unknown>;

const seen = (from: number, fields: Line): Line => ({
  kind: 'observed',
  at: from + 1,
  from,
  id: 'job_1',
  run: 1,
  attempt: 1,
  state: 'succeeded',
  score: 7,
  digest: 'a',
  ...fields,
});
const webhook = (fields: Line = {}): Line => ({
  kind: 'webhook',
  at: 60,
  key: 'k1',
  event: 'evt_1',
  type: 'job.succeeded',
  id: 'job_1',
  run: 1,
  attempt: null,
  score: null,
  digest: 'b',
  ...fields,
});
const runs = (...states: string[]): Line => ({
  kind: 'runs',
  at: 90,
  id: 'job_1',
  runs: states.map((state, index) => ({
    run: index + 1,
    state,
    attempt: 1,
    score: state === 'succeeded' ? 7 : null,
  })),
});
const reported = (fields: Line = {}): Line => ({
  kind: 'reported',
  at: 95,
  worker: 'worker 1',
  id: 'job_1',
  run: 1,
  attempt: 1,
  state: 'succeeded',
  ...fields,
});
const fenced = (attempt: number): Line => ({ kind: 'fenced', at: 96, worker: 'worker 2', id: 'job_1', attempt });

const asked = [
  { kind: 'begin', at: 0, scenario: 'by hand', seed: 1 },
  { kind: 'request', at: 1, key: 'k1', model: 'slow', webhook: true, score: 7 },
  { kind: 'acknowledged', at: 2, key: 'k1', id: 'job_1' },
];
const emptied = { kind: 'backlog', at: 99, model: 'slow', jobs: 0, rows: 0, bytes: 0 };

const check = (...lines: Line[]) => checkHistory([...asked, ...lines, emptied].map((line) => JSON.stringify(line)));
const rules = (...lines: Line[]) => [...new Set(check(...lines).map(({ rule }) => rule))];

describe('a history is without fault', () => {
  test('when a job is queued, runs, goes back, runs again and ends', () => {
    expect(
      check(
        seen(3, { state: 'queued', attempt: 0, score: null }),
        seen(5, { state: 'running', score: null }),
        seen(7, { state: 'queued', score: null }),
        seen(9, { state: 'running', attempt: 2, score: null }),
        seen(11, { attempt: 2 }),
        { kind: 'fault', at: 12, what: 'SIGKILL worker' },
        seen(13, { attempt: 2 }),
        webhook(),
        webhook(),
        runs('succeeded'),
      ),
    ).toEqual([]);
  });

  test('when answers that crossed each other disagree about the order', () => {
    expect(check(seen(3, { at: 9 }), seen(4, { at: 10, state: 'running' }), webhook(), runs('succeeded'))).toEqual([]);
  });

  test('when a canceled job is run again', () => {
    expect(
      check(
        { kind: 'cancel', at: 4, from: 3, id: 'job_1', run: 1, isCanceled: true },
        seen(5, { state: 'canceled', attempt: 0, score: null, digest: 'c' }),
        { kind: 'retried', at: 8, id: 'job_1', run: 2 },
        seen(9, { run: 2, state: 'queued', attempt: 0, score: null }),
        seen(11, { run: 2 }),
        webhook({ event: 'evt_0', type: 'job.canceled', digest: 'd', run: null }),
        webhook({ run: 2 }),
        runs('canceled', 'succeeded'),
      ),
    ).toEqual([]);
  });

  test('when two runs end alike and their bodies do not show which is which', () => {
    expect(
      check(
        webhook({ type: 'job.failed', run: null }),
        webhook({ event: 'evt_2', type: 'job.failed', run: null }),
        runs('failed', 'failed'),
      ),
    ).toEqual([]);
  });

  test('when the attempt that ended the run is told by its worker and in the body, and another one was refused', () => {
    expect(check(webhook({ attempt: 1, score: 7 }), runs('succeeded'), reported(), fenced(2))).toEqual([]);
  });

  test('when Redis forgets an end and a job, and what is left ends anew', () => {
    const end = seen(3, {});
    expect(
      check(
        end,
        webhook(),
        { kind: 'rollback', at: 70, lost: [] },
        seen(80, { attempt: 2, digest: 'z' }),
        runs('succeeded'),
      ),
    ).toEqual([]);
    expect(check(end, { kind: 'rollback', at: 70, lost: ['job_1'] })).toEqual([]);
  });

  test('when a request without an answer, or with one that promises nothing, leaves a job or none', () => {
    const request = (key: string) => ({ kind: 'request', at: 3, key, model: 'slow', webhook: true, score: 8 });
    const unanswered = (key: string) => ({ kind: 'unanswered', at: 4, key, reason: 'ECONNRESET' });
    expect(
      check(
        request('k2'),
        unanswered('k2'),
        request('k3'),
        unanswered('k3'),
        webhook({ key: 'k2', id: 'job_2', event: 'evt_2' }),
        { ...runs('succeeded'), id: 'job_2' },
        webhook(),
        runs('succeeded'),
      ),
    ).toEqual([]);
  });
});

const done = [webhook(), runs('succeeded')];
const VIOLATIONS: [Rule, string, Line[]][] = [
  ['acknowledged-ends', 'a job that is gone', [{ kind: 'missing', at: 9, id: 'job_1' }]],
  ['acknowledged-ends', 'a job that nobody saw end', []],
  ['acknowledged-ends', 'a run that has not ended', [runs('running')]],
  ['acknowledged-ends', 'an earlier run that has not ended', [webhook({ run: 2 }), runs('running', 'succeeded')]],
  ['runs-are-complete', 'a retry without its run', [{ kind: 'retried', at: 9, id: 'job_1', run: 2 }, ...done]],
  ['only-requested', 'a webhook nobody asked for', [...done, webhook({ key: 'k9', id: 'job_9', event: 'evt_9' })]],
  [
    'only-requested',
    'a job of a refused request',
    [
      { kind: 'request', at: 3, key: 'k2', model: 'slow', webhook: true, score: 8 },
      { kind: 'refused', at: 4, key: 'k2', status: 429, code: 'backlog_full' },
      webhook({ key: 'k2', id: 'job_2', event: 'evt_2' }),
      ...done,
    ],
  ],
  ['one-job-a-request', 'two jobs of one request', [...done, webhook({ id: 'job_2', event: 'evt_2' })]],
  ['monotone', 'attempts that count down', [seen(3, { state: 'running', attempt: 2 }), seen(5, {}), ...done]],
  ['monotone', 'runs that count down', [seen(3, { run: 2 }), seen(5, {}), webhook({ run: 2 }), ...done]],
  ['monotone', 'a job that runs after its end', [seen(3, {}), seen(5, { state: 'running' }), ...done]],
  ['monotone', 'a success without an attempt', [seen(3, { attempt: 0 }), ...done]],
  ['terminal-is-final', 'an end that changes', [seen(3, {}), seen(5, { state: 'failed', digest: 'z' }), ...done]],
  ['terminal-is-final', 'an end whose bytes change', [seen(3, {}), seen(5, { digest: 'z' }), ...done]],
  ['terminal-is-final', 'an end that is listed otherwise', [seen(3, { state: 'failed' }), ...done]],
  [
    'cancel-holds',
    'a cancel that is undone',
    [{ kind: 'cancel', at: 4, from: 3, id: 'job_1', run: 1, isCanceled: true }, ...done],
  ],
  [
    'cancel-holds',
    'a cancel that came too late and yet canceled',
    [
      { kind: 'cancel', at: 4, from: 3, id: 'job_1', run: 1, isCanceled: false },
      webhook({ type: 'job.canceled' }),
      runs('canceled'),
    ],
  ],
  ['right-answer', "a neighbour's answer", [seen(3, { score: 8 }), ...done]],
  ['webhook-arrives', 'an end that no webhook tells', [runs('succeeded')]],
  ['webhook-arrives', 'a second end that no webhook tells', [webhook(), runs('failed', 'succeeded')]],
  ['one-event-id', 'an event under two ids', [...done, webhook({ event: 'evt_2' })]],
  [
    'one-event-id',
    'an event under two ids in bodies that do not show their run',
    [webhook({ run: null }), webhook({ event: 'evt_2', run: null }), runs('succeeded')],
  ],
  [
    'one-event-id',
    'more ids of an event than runs that ended so',
    [
      webhook({ type: 'job.failed', run: null }),
      webhook({ event: 'evt_2', type: 'job.failed', run: null }),
      webhook({ event: 'evt_3', run: 2 }),
      runs('failed', 'succeeded'),
    ],
  ],
  [
    'one-event-id',
    'an id for two events',
    [...done, webhook({ run: 2, type: 'job.failed' }), runs('succeeded', 'failed')],
  ],
  [
    'event-tells-the-end',
    'a success after a cancel',
    [webhook({ type: 'job.canceled' }), webhook({ event: 'evt_2' }), runs('canceled')],
  ],
  [
    'event-tells-the-end',
    'a bare event of no run',
    [...done, webhook({ event: 'evt_2', type: 'job.failed', run: null })],
  ],
  ['event-tells-the-end', 'a body with another score', [webhook({ attempt: 1, score: 8 }), runs('succeeded')]],
  ['event-tells-the-end', 'a body without the score', [webhook({ attempt: 1 }), runs('succeeded')]],
  ['event-tells-the-end', 'a body of another attempt', [webhook({ attempt: 2, score: 7 }), runs('succeeded')]],
  ['report-holds', 'a worker that reports what was refused', [...done, reported(), fenced(1)]],
  ['report-holds', 'a worker that reports another attempt', [...done, reported({ attempt: 2 })]],
  ['report-holds', 'a worker that reports another end', [...done, reported({ state: 'failed' })]],
  ['report-holds', 'two workers that report one run', [...done, reported(), reported({ worker: 'worker 2' })]],
  ['same-bytes', 'a delivery with another body', [...done, webhook({ digest: 'z' })]],
  ['backlog-is-empty', 'what still waits', [...done, { ...emptied, jobs: 1 }]],
];

test.each(VIOLATIONS)('%s: finds %s', (rule, _, lines) => {
  expect(rules(...lines)).toContain(rule);
});

test('a history that does not say what is left proves nothing', () => {
  const lines = [...asked, seen(3, {}), ...done].map((line) => JSON.stringify(line));
  expect(checkHistory(lines)).toMatchObject([{ rule: 'backlog-is-empty' }]);
});

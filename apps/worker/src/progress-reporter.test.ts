import { expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome, JobProgress } from '@onqueue/shared';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { ProgressReporter, type ReportProgress } from './progress-reporter.ts';

const OUTCOME: JobOutcome = { state: 'succeeded', results: [] };
const job = (rows: number, more: Partial<ClaimedJob> = {}): ClaimedJob => ({
  id: 'job_1',
  tenant: 'default',
  partition: 0,
  run: 1,
  attempt: 1,
  model: 'm',
  version: '1',
  lane: 'interactive',
  inputs: Array.from({ length: rows }, () => ({})),
  request: { on_row_error: 'fail', request_id: 'req_1' },
  queuedMs: 0,
  claimedUs: '1',
  ...more,
});

function scene({ isFailing = false } = {}) {
  const clock = new ManualClock();
  const told: JobProgress['rows'][] = [];
  const errors: Error[] = [];
  const reporter = new ProgressReporter({
    clock,
    everyMs: 2000,
    onError: (error) => errors.push(error),
    log: {
      async note(_job, { rows }) {
        if (isFailing) throw new Error('away');
        told.push(rows);
        return true;
      },
    },
  });
  const follow = (claimed: ClaimedJob) => {
    let report: ReportProgress = () => {};
    let end = () => {};
    const ended = reporter.follow(claimed, (given) => {
      report = given;
      return new Promise((resolve) => {
        end = () => resolve(OUTCOME);
      });
    });
    return { report, end, ended };
  };
  return { clock, told, errors, follow };
}

test('tells the newest, once in its time, and nothing before it', async () => {
  const { clock, told, follow } = scene();
  const { report, end, ended } = follow(job(100));
  report(1);
  await clock.advance(1000);
  report(7);
  await clock.advance(999);
  expect(told).toEqual([]);
  await clock.advance(1);
  expect(told).toEqual([{ done: 7, total: 100 }]);
  report(8);
  report(30);
  await clock.advance(1999);
  expect(told).toHaveLength(1);
  await clock.advance(1);
  expect(told.slice(1)).toEqual([{ done: 30, total: 100 }]);
  // Nothing new, nothing told; and what is new then is told at once.
  await clock.advance(60_000);
  expect(told).toHaveLength(2);
  report(31);
  await clock.advance(0);
  expect(told.slice(2)).toEqual([{ done: 31, total: 100 }]);
  end();
  expect(await ended).toBe(OUTCOME);
});

test('a job that ends sooner tells nothing, nor does one that has ended', async () => {
  const { clock, told, follow } = scene();
  const { report, end, ended } = follow(job(100));
  report(50);
  end();
  await ended;
  report(60);
  await clock.advance(60_000);
  expect(told).toEqual([]);
});

test('what is computed again takes nothing back', async () => {
  const { clock, told, follow } = scene();
  const { report, end, ended } = follow(job(10));
  report(6);
  await clock.advance(2000);
  report(2);
  await clock.advance(60_000);
  expect(told).toEqual([{ done: 6, total: 10 }]);
  end();
  await ended;
});

test('a run of the unfinished rows begins with those that have an answer', async () => {
  const { clock, told, follow } = scene();
  const kept = { run: 1, results: [], rows: [7, 8, 9], total: 10 };
  const { report, end, ended } = follow(job(3, { kept }));
  report(1);
  await clock.advance(2000);
  expect(told).toEqual([{ done: 8, total: 10 }]);
  end();
  await ended;
});

test('a job goes on whose progress cannot be told', async () => {
  const { clock, errors, follow } = scene({ isFailing: true });
  const { report, end, ended } = follow(job(10));
  report(6);
  await clock.advance(2000);
  expect(errors.map(({ message }) => message)).toEqual(['away']);
  end();
  expect(await ended).toBe(OUTCOME);
});

import { describe, expect, test } from '@jest/globals';
import type { Backlog, Clock } from '@onqueue/shared';
import { BacklogMonitor } from './backlog-monitor.ts';
import type { ModelCatalog } from './model-catalog.ts';

const full: Backlog = { jobs: 1000, rows: 4000, bytes: 100_000, finishedJobs: 0, finishedRows: 0 };

/** A monitor that has seen `finishedJobs` after each second. */
async function monitorAfter(finishedJobs: number[]) {
  let nowMs = 0;
  let finished = 0;
  const clock: Clock = { now: () => nowMs, setTimeout: () => ({ cancel: () => {} }) };
  const monitor = new BacklogMonitor({
    store: {
      backlog: async () => ({
        ...full,
        finishedJobs: finished,
        finishedRows: finished * 4,
        oldestUnclaimed: [],
        finishedJobsOf: { interactive: finished, bulk: 0 },
      }),
    },
    catalog: { list: async () => [{ descriptor: { name: 'fraud' } }] } as unknown as ModelCatalog,
    clock,
  });
  for (finished of finishedJobs) {
    await monitor.sample();
    nowMs += 1000;
  }
  return monitor;
}

describe('BacklogMonitor.retryAfterS', () => {
  test('is the time in which a twentieth of the cap drains', async () => {
    const monitor = await monitorAfter([0, 10, 20]);
    expect(monitor.retryAfterS('fraud', 'jobs', full, 1000)).toBe(5);
    expect(monitor.retryAfterS('fraud', 'rows', full, 4000)).toBe(5);
    // 10 jobs/s of 100 bytes each.
    expect(monitor.retryAfterS('fraud', 'bytes', full, 100_000)).toBe(5);
  });

  test('is never less than a second nor more than a minute', async () => {
    expect((await monitorAfter([0, 100_000])).retryAfterS('fraud', 'jobs', full, 1000)).toBe(1);
    expect((await monitorAfter([0, 1])).retryAfterS('fraud', 'jobs', full, 1_000_000)).toBe(60);
  });

  test('is five seconds while nothing has been measured or nothing drains', async () => {
    expect((await monitorAfter([])).retryAfterS('fraud', 'jobs', full, 1000)).toBe(5);
    expect((await monitorAfter([7, 7, 7])).retryAfterS('fraud', 'jobs', full, 1000)).toBe(5);
  });

  test('forgets what is longer ago than its window', async () => {
    const monitor = await monitorAfter([0, ...Array.from({ length: 20 }, (_, second) => 1000 + second * 100)]);
    expect(monitor.retryAfterS('fraud', 'jobs', full, 2000)).toBe(1);
  });
});

import { describe, expect, test } from '@jest/globals';
import type { JobOutcome } from '@onqueue/shared';
import { HeldJobs } from './held-jobs.ts';

const done: JobOutcome = { state: 'succeeded', results: [] };
const never = () => new Promise<JobOutcome>(() => {});

describe('HeldJobs', () => {
  test('returns what the work does', async () => {
    await expect(new HeldJobs().hold({ id: 'a', run: 1 }, async () => done)).resolves.toBe(done);
  });

  test('halts every hold of the run, and no other run or job', async () => {
    const held = new HeldJobs();
    const halted: string[] = [];
    const hold = (id: string, run: number, name: string) =>
      void held.hold({ id, run }, (signal) => {
        signal.onHalt(() => halted.push(name));
        return never();
      });
    hold('a', 1, 'first attempt');
    hold('a', 1, 'second attempt');
    hold('a', 2, 'next run');
    hold('b', 1, 'other');
    held.halt({ id: 'a', run: 1 });
    held.halt({ id: 'unknown', run: 1 });
    expect(halted).toEqual(['first attempt', 'second attempt']);
  });

  test('hands back what is held and what comes later, without spending an attempt', async () => {
    const held = new HeldJobs();
    const before = held.hold({ id: 'a', run: 1 }, never);
    held.handBackAll();
    const handedBack = { state: 'queued', spendsAttempt: false };
    expect(await before).toEqual(handedBack);
    expect(await held.hold({ id: 'b', run: 1 }, never)).toEqual(handedBack);
  });
});

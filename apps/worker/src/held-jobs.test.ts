import { describe, expect, test } from '@jest/globals';
import type { JobOutcome } from '@onqueue/shared';
import { HeldJobs } from './held-jobs.ts';

const done: JobOutcome = { state: 'succeeded', results: [] };
const never = () => new Promise<JobOutcome>(() => {});

describe('HeldJobs', () => {
  test('returns what the work does', async () => {
    await expect(new HeldJobs().hold('a', async () => done)).resolves.toBe(done);
  });

  test('halts every hold of the job, and no other job', async () => {
    const held = new HeldJobs();
    const halted: string[] = [];
    const hold = (id: string, name: string) =>
      void held.hold(id, (signal) => {
        signal.onHalt(() => halted.push(name));
        return never();
      });
    hold('a', 'first attempt');
    hold('a', 'second attempt');
    hold('b', 'other');
    held.halt('a');
    held.halt('unknown');
    expect(halted).toEqual(['first attempt', 'second attempt']);
  });

  test('hands back what is held and what comes later, without spending an attempt', async () => {
    const held = new HeldJobs();
    const before = held.hold('a', never);
    held.handBackAll();
    const handedBack = { state: 'queued', spendsAttempt: false };
    expect(await before).toEqual(handedBack);
    expect(await held.hold('b', never)).toEqual(handedBack);
  });
});

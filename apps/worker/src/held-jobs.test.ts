import { describe, expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome } from '@onqueue/shared';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { HeldJobs } from './held-jobs.ts';

const done: JobOutcome = { state: 'succeeded', results: [] };
const never = () => new Promise<JobOutcome>(() => {});
const jobOf = (id: string, run = 1) => ({ id, run }) as ClaimedJob;

function heldJobs(clock = new ManualClock()) {
  return new HeldJobs({ clock });
}

describe('HeldJobs', () => {
  test('returns what the work does', async () => {
    await expect(heldJobs().hold(jobOf('a'), async () => done)).resolves.toBe(done);
  });

  test('halts every hold of the run, and no other run or job', async () => {
    const held = heldJobs();
    const halted: string[] = [];
    const hold = (id: string, run: number, name: string) =>
      void held.hold(jobOf(id, run), (signal) => {
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
    const held = heldJobs();
    const before = held.hold(jobOf('a'), never);
    held.handBackAll();
    const handedBack = { state: 'queued', spendsAttempt: false };
    expect(await before).toEqual(handedBack);
    expect(await held.hold(jobOf('b'), never)).toEqual(handedBack);
  });

  test('is empty when every job has been computed and committed, and says how long the commit took', async () => {
    const clock = new ManualClock();
    const held = heldJobs(clock);
    const job = jobOf('a');
    expect(held.isEmpty).toBe(true);
    const work = held.hold(job, () => clock.after(5).then(() => done));
    expect(held.isEmpty).toBe(false);
    await clock.advance(5);
    await work;
    expect(held.isEmpty).toBe(false);
    await clock.advance(3);
    expect(held.release(job)).toBe(3);
    expect(held.isEmpty).toBe(true);
    expect(held.release(job)).toBeUndefined();
  });

  test('forgets after a minute what was never committed', async () => {
    const clock = new ManualClock();
    const held = heldJobs(clock);
    await held.hold(jobOf('a'), async () => done);
    await clock.advance(59_999);
    expect(held.isEmpty).toBe(false);
    await clock.advance(1);
    expect(held.isEmpty).toBe(true);
  });
});

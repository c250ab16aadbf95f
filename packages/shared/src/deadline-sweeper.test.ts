import { describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { DeadlineSweeper } from './deadline-sweeper.ts';
import type { SweepOutcome } from './ports.ts';

function setUp(sweep: (partition: number) => SweepOutcome, partitions = 1) {
  const clock = new ManualClock();
  const looks: { partition: number; atMs: number }[] = [];
  const errors: Error[] = [];
  const sweeper = new DeadlineSweeper({
    store: {
      sweep: async (partition) => {
        looks.push({ partition, atMs: clock.now() });
        return sweep(partition);
      },
    },
    partitions,
    clock,
    onError: (error) => errors.push(error),
  });
  sweeper.start();
  return { clock, looks, errors, sweeper };
}

const nothing: SweepOutcome = { due: 0, nextDueMs: undefined };

describe('DeadlineSweeper', () => {
  test('looks once a second while nothing is due', async () => {
    const { clock, looks } = setUp(() => nothing);
    await clock.advance(3100);
    expect(looks.map(({ atMs }) => atMs)).toEqual([50, 1050, 2050, 3050]);
  });

  test('looks when the next deadline is due', async () => {
    const { clock, looks } = setUp(() => ({ due: 0, nextDueMs: 300 }));
    await clock.advance(1000);
    expect(looks.map(({ atMs }) => atMs)).toEqual([50, 350, 650, 950]);
  });

  test('goes on at once while as many are due as one script ends', async () => {
    let left = 250;
    const { clock, looks } = setUp(() => {
      const due = Math.min(100, left);
      left -= due;
      return { due, nextDueMs: undefined };
    });
    await clock.advance(60);
    expect(looks).toHaveLength(3);
  });

  test('a partition that cannot be looked at keeps none of the others', async () => {
    const { clock, looks, errors } = setUp((partition) => {
      if (partition === 0) throw new Error('its node is away');
      return nothing;
    }, 2);
    await clock.advance(1100);
    expect(looks.filter(({ partition }) => partition === 1)).toHaveLength(2);
    expect(errors).toHaveLength(2);
  });

  test('looks no more once it is stopped', async () => {
    const { clock, looks, sweeper } = setUp(() => nothing);
    await clock.advance(100);
    sweeper.stop();
    await clock.advance(5000);
    expect(looks).toHaveLength(1);
  });
});

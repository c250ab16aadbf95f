import { availableParallelism } from 'node:os';
import { machineCpuMs, treeCpuMs } from './cpu-time.ts';
import { fixedTaskMs } from './fixed-task.ts';

/** More of the machine than this in other people's hands, and the round says more about them than about us. */
const MAX_FOREIGN_CPU = 0.08;
/** A fixed task that takes this much longer than it ever did here: another clock speed, or a neighbour on the core. */
const MAX_SLOWDOWN = 1.4;

/**
 * Tells noisy rounds from quiet ones. Two controls that the system under test cannot disturb itself: how much of the
 * machine's CPU time went to processes that are not ours during the round (steal included), and whether a fixed task
 * just before and just after it was slower than the fastest ever seen in this run.
 */
export class NoiseControl {
  #fastestTaskMs = fixedTaskMs();
  #start: { atMs: number; machineMs: number | undefined; ownMs: number | undefined; taskMs: number } | undefined;

  begin(): void {
    const taskMs = this.#runTask();
    this.#start = { atMs: performance.now(), machineMs: machineCpuMs(), ownMs: ownCpuMs(), taskMs };
  }

  /** What was wrong with the round, if anything was. */
  end(): string | undefined {
    if (!this.#start) throw new Error('A round ends that has not begun. This is a bug.');
    const { atMs, machineMs, ownMs, taskMs } = this.#start;
    const foreign = foreignShare({
      machineMs: difference(machineCpuMs(), machineMs),
      ownMs: difference(ownCpuMs(), ownMs),
      elapsedMs: performance.now() - atMs,
      cores: availableParallelism(),
    });
    const slowdown = Math.max(taskMs, this.#runTask()) / this.#fastestTaskMs;
    return joinNoises([
      foreign > MAX_FOREIGN_CPU ? `${percent(foreign)} of the CPU went to other processes` : undefined,
      slowdown > MAX_SLOWDOWN ? `a fixed task took ${slowdown.toFixed(2)} times as long` : undefined,
    ]);
  }

  #runTask(): number {
    const taskMs = fixedTaskMs();
    this.#fastestTaskMs = Math.min(this.#fastestTaskMs, taskMs);
    return taskMs;
  }
}

/** What several controls found, in one text; undefined when none of them found anything. */
export function joinNoises(noises: readonly (string | undefined)[]): string | undefined {
  const found = noises.filter((noise) => noise !== undefined);
  return found.length > 0 ? found.join(', ') : undefined;
}

export interface CpuUse {
  /** CPU time of the whole machine and of our processes during the round; undefined where nobody counts. */
  machineMs: number | undefined;
  ownMs: number | undefined;
  elapsedMs: number;
  cores: number;
}

/** The share 0…1 of the machine that went to others; 0 where nobody counts. */
export function foreignShare({ machineMs, ownMs, elapsedMs, cores }: CpuUse): number {
  if (machineMs === undefined || ownMs === undefined) return 0;
  return Math.max(0, machineMs - ownMs) / (elapsedMs * cores);
}

function ownCpuMs(): number | undefined {
  return treeCpuMs([process.pid]);
}

function difference(now: number | undefined, before: number | undefined): number | undefined {
  return now === undefined || before === undefined ? undefined : now - before;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

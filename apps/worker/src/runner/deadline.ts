import { type Clock, systemClock } from '@onqueue/shared';

export interface Deadline {
  cancel(): void;
}

/** A timer that fires so much too late says that this process stood still meanwhile, or was starved. */
const STANDSTILL_MS = 500;

/**
 * Calls back when `ms` have passed without a `cancel()`, by the time in which this process ran. After a standstill (a
 * stopped process, a frozen container) the answer that was waited for may long be in the pipe, and timers fire before
 * pipes are read: so the wait begins anew, and even then whatever lies in the pipe is read first.
 */
export function startDeadline(
  ms: number,
  onPassed: () => void,
  {
    clock = systemClock,
    afterReading = setImmediate,
  }: { clock?: Clock; afterReading?: (next: () => void) => void } = {},
): Deadline {
  let isOver = false;
  let timer: { cancel(): void };
  const arm = () => {
    const dueAtMs = clock.now() + ms;
    timer = clock.setTimeout(() => {
      if (clock.now() - dueAtMs > STANDSTILL_MS) arm();
      else afterReading(() => isOver || onPassed());
    }, ms);
  };
  arm();
  return {
    cancel() {
      isOver = true;
      timer.cancel();
    },
  };
}

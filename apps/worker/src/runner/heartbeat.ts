import { type Clock, systemClock } from '@onqueue/shared';
import { type Deadline, startDeadline } from './deadline.ts';

export interface Heartbeat {
  /** The answer to a ping came. */
  heard(): void;
  stop(): void;
}

export interface HeartbeatOptions {
  /** From one ping to the next. */
  intervalMs: number;
  /** For the answer, by the time in which this process ran. */
  timeoutMs: number;
  /** Whether it holds a batch: nothing else is heard of it then, and the batch has a deadline of its own. */
  isBusy: () => boolean;
  ping: () => void;
  /** Called once, when a ping was not answered in time. */
  onSilent: () => void;
  clock?: Clock;
  afterReading?: (next: () => void) => void;
}

/** Asks something that is idle, now and then, whether it is still there. A ping that is not answered yet is not repeated. */
export function startHeartbeat({
  intervalMs,
  timeoutMs,
  clock = systemClock,
  ...options
}: HeartbeatOptions): Heartbeat {
  let awaited: Deadline | undefined;
  let timer: { cancel(): void };
  const stop = () => {
    timer.cancel();
    awaited?.cancel();
  };
  const beat = () => {
    timer = clock.setTimeout(beat, intervalMs);
    if (awaited || options.isBusy()) return;
    const onPassed = () => {
      stop();
      options.onSilent();
    };
    const { afterReading } = options;
    awaited = startDeadline(timeoutMs, onPassed, { clock, ...(afterReading && { afterReading }) });
    options.ping();
  };
  timer = clock.setTimeout(beat, intervalMs);
  return {
    heard() {
      awaited?.cancel();
      awaited = undefined;
    },
    stop,
  };
}

import type { EventEmitter } from 'node:events';

export interface ShutdownHandlers {
  /** The first request: drain and stop. */
  onFirst(): void;
  /** Asked again while stopping: stop at once. */
  onSecond(): void;
}

/**
 * Tells a second Ctrl-C from the echo of the first one. A terminal sends SIGINT to the whole foreground group, npm and
 * our own npm script then hand it on too, so one key press arrives up to three times within milliseconds.
 * Returns the function that stops listening.
 */
export function onShutdownSignals(
  source: Pick<EventEmitter, 'on' | 'off'>,
  handlers: ShutdownHandlers,
  now: () => number = () => performance.now(),
): () => void {
  let firstAt: number | undefined;
  const listener = () => {
    if (firstAt === undefined) {
      firstAt = now();
      handlers.onFirst();
    } else if (now() - firstAt > ECHO_MS) {
      handlers.onSecond();
    }
  };
  for (const signal of SIGNALS) source.on(signal, listener);
  return () => {
    for (const signal of SIGNALS) source.off(signal, listener);
  };
}

const ECHO_MS = 750;
/** SIGHUP: the terminal was closed. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

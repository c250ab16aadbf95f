import { type Clock, type EventGap, type JobEvent, systemClock } from '@onqueue/shared';

/** The way to one reader. */
export interface EventSink {
  /** Bytes that were handed over and not taken. */
  readonly unsentBytes: number;
  send(event: JobEvent | EventGap): void;
  /** Something that no reader sees, so that proxies and peers keep the connection. */
  beat(): void;
  /** Closes once all is taken. */
  end(): void;
  /** Cuts the connection. */
  drop(): void;
}

export interface EventDeliveryOptions {
  events: AsyncIterable<JobEvent | EventGap>;
  sink: EventSink;
  /** Aborts when the connection is closed, by whomever. */
  closed: AbortSignal;
  heartbeatMs: number;
  maxBufferBytes: number;
  clock?: Clock;
}

/** How it came to an end: all was told and taken, the connection was closed before that, or its reader was too slow. */
export type DeliveryEnd = 'told' | 'closed' | 'slow';

/**
 * Hands events to a reader until there are no more. A reader is too slow when more than `maxBufferBytes` wait for it and there is
 * more to say, or when it takes nothing between two heartbeats: it is cut off, since what waits for it is memory of this process.
 * It comes back for the rest with the id of its last event.
 */
export async function deliverEvents(options: EventDeliveryOptions): Promise<DeliveryEnd> {
  const { events, sink, closed, heartbeatMs, maxBufferBytes, clock = systemClock } = options;
  let isSlow = false;
  const cutOff = () => {
    isSlow = true;
    sink.drop();
  };
  let unsentBefore = 0;
  const beat = () => {
    const unsent = sink.unsentBytes;
    if (unsent > 0 && unsent === unsentBefore) {
      cutOff();
      return;
    }
    unsentBefore = unsent;
    // Behind what waits a beat would tell nobody anything, and hide that nothing is taken.
    if (unsent === 0) sink.beat();
    heartbeat = clock.setTimeout(beat, heartbeatMs);
  };
  let heartbeat = clock.setTimeout(beat, heartbeatMs);
  const isClosed = new Promise<void>((resolve) => {
    if (closed.aborted) resolve();
    closed.addEventListener('abort', () => resolve(), { once: true });
  });
  try {
    for await (const event of events) {
      if (closed.aborted) break;
      if (sink.unsentBytes > maxBufferBytes) {
        cutOff();
        break;
      }
      sink.send(event);
    }
    const isTold = !closed.aborted;
    if (!isSlow) sink.end();
    await isClosed;
    return isSlow ? 'slow' : isTold ? 'told' : 'closed';
  } finally {
    heartbeat.cancel();
  }
}

import {
  type Clock,
  type CompletionListener,
  type EventCursor,
  type EventGap,
  eventsAfter,
  isBeyond,
  isTerminal,
  type JobEvent,
  type JobStore,
  parseEventCursor,
  systemClock,
} from '@onqueue/shared';

export interface JobEventFeedOptions {
  store: Pick<JobStore, 'read' | 'runs'>;
  listener: CompletionListener;
  /** How late a start is told: nobody publishes those. */
  pollMs: number;
  publicUrl: string | undefined;
  clock?: Clock;
}

export interface FeedRequest {
  tenant: string;
  id: string;
  /** The last event that the reader has; undefined: none. */
  after: EventCursor | undefined;
  signal: AbortSignal;
}

/**
 * The events of a job, as they happen: until its run has ended, the job is gone, or `signal` aborts. They follow from the
 * record, so that whoever comes late, or again, gets the same ones; a cursor that the record knows nothing of is told as a gap.
 */
export async function* jobEvents(
  { store, listener, pollMs, publicUrl, clock = systemClock }: JobEventFeedOptions,
  { tenant, id, after, signal }: FeedRequest,
): AsyncGenerator<JobEvent | EventGap> {
  let wake = () => {};
  let isHinted = false;
  const hint = () => {
    isHinted = true;
    wake();
  };
  signal.addEventListener('abort', hint, { once: true });
  const unwatch = await listener.watch(id, hint);
  let cursor = after;
  try {
    while (!signal.aborted) {
      isHinted = false;
      const record = await store.read(tenant, id);
      if (record === null) return;
      if (cursor && isBeyond(cursor, record)) {
        yield gap(id, cursor);
        cursor = undefined;
      }
      const hasEarlier = record.run > 1 && (cursor === undefined || cursor.run < record.run);
      const earlier = hasEarlier ? await store.runs(tenant, id) : [];
      for (const event of eventsAfter(cursor, record, earlier, publicUrl)) {
        yield event;
        cursor = parseEventCursor(event.id);
      }
      if (isTerminal(record.state)) return;
      const poll = record.state === 'queued' ? clock.setTimeout(hint, pollMs) : undefined;
      if (!isHinted) await new Promise<void>((resolve) => (wake = resolve));
      poll?.cancel();
    }
  } finally {
    unwatch();
    signal.removeEventListener('abort', hint);
  }
}

function gap(id: string, after: EventCursor): EventGap {
  return {
    type: 'gap',
    job_id: id,
    after: `${after.run}-${after.sequence}`,
    detail: 'The job has no event so late. What there is follows from the beginning.',
  };
}

import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { type ApiClient, ApiError } from '../api/api-client.ts';
import { sseEvents } from '../api/sse-events.ts';
import { EXIT } from '../cli-error.ts';

const shownEvent = z.looseObject({
  id: z.string().optional(),
  type: z.string(),
  timestamp: z.string().optional(),
  run: z.number().optional(),
  detail: z.string().optional(),
  progress: z.looseObject({ rows: z.object({ done: z.number(), total: z.number() }) }).optional(),
});
export type ShownEvent = z.infer<typeof shownEvent>;

export interface FollowOptions {
  api: ApiClient;
  /** The id of the last event that is known. */
  after: string | undefined;
}

const RECONNECT_MS = 1000;
const PATIENCE_MS = 30_000;

/** The events of a job up to its end, each once, also over an API that goes and comes back. @throws ApiError */
export async function* followEvents(id: string, { api, after }: FollowOptions): AsyncGenerator<ShownEvent> {
  let last = after;
  let heardAtMs = performance.now();
  for (;;) {
    try {
      const response = await api.open('GET', `/jobs/${encodeURIComponent(id)}/events`, {
        headers: { accept: 'text/event-stream', 'last-event-id': last },
      });
      // All that there is was told.
      if (response.status === 204 || response.body === null) return;
      for await (const event of sseEvents(response.body)) {
        heardAtMs = performance.now();
        last = event.id ?? last;
        yield shownEvent.parse(JSON.parse(event.data));
      }
      // It ended: because the job has, or because the server has. To ask again tells which.
    } catch (error) {
      const isBroken = error instanceof TypeError || (error instanceof ApiError && error.exitCode === EXIT.unavailable);
      if (!isBroken || performance.now() - heardAtMs > PATIENCE_MS) throw error;
      await delay(RECONNECT_MS);
    }
  }
}

export function eventText({ id = '', type, timestamp = '', run, detail, progress }: ShownEvent): string {
  const rows = progress ? `${progress.rows.done} of ${progress.rows.total} rows` : '';
  return [timestamp, id, type, run === undefined ? '' : `run ${run}`, rows, detail ?? '']
    .filter((part) => part !== '')
    .join('  ');
}

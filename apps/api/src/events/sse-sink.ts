import type { EventGap, JobEvent } from '@onqueue/shared';
import type { Response } from 'express';
import type { EventSink } from './event-delivery.ts';

/** How soon a client comes back after the connection broke. */
const RECONNECT_MS = 1000;

/** Server-Sent Events on a response whose headers this sends. A gap has no id: it moves no reader. */
export function openSseSink(response: Response): EventSink {
  response.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-store',
    // nginx would gather the events otherwise.
    'X-Accel-Buffering': 'no',
  });
  response.write(`retry: ${RECONNECT_MS}\n\n`);
  return {
    get unsentBytes() {
      return response.writableLength;
    },
    send(event: JobEvent | EventGap) {
      const id = 'id' in event ? `id: ${event.id}\n` : '';
      response.write(`${id}event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    },
    beat() {
      response.write(': heartbeat\n\n');
    },
    end() {
      response.end();
    },
    drop() {
      response.destroy();
    },
  };
}

import { type EventCursor, isOver, type JobRecord, Problem, parseEventCursor } from '@onqueue/shared';
import type { Request, Response } from 'express';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { tenantOf } from '../auth/caller.ts';
import { deliverEvents, type EventSink } from '../events/event-delivery.ts';
import type { EventReaders } from '../events/event-readers.ts';
import { type JobEventFeedOptions, jobEvents } from '../events/job-event-feed.ts';
import { openSseSink } from '../events/sse-sink.ts';
import { openWebSocketSink } from '../events/web-socket-sink.ts';
import { abortOnClose } from '../http/abort-on-close.ts';
import { returnUpgrade, takeUpgrade, type Upgrade } from '../http/upgrade.ts';
import type { ApiMetrics } from '../metrics.ts';
import { type FindJobOptions, findJob } from './find-job.ts';

export interface JobEventsOptions extends FindJobOptions, Omit<JobEventFeedOptions, 'store'> {
  readers: EventReaders;
  metrics: ApiMetrics;
  heartbeatMs: number;
  maxBufferBytes: number;
}

/** Readers say nothing: a message of theirs is read only to be let go. */
const MAX_MESSAGE_BYTES = 1024;

/** `GET /jobs/:id/events`: Server-Sent Events, or WebSocket for whoever asks for that. */
export function jobEventsRoute(options: JobEventsOptions): (request: Request, response: Response) => Promise<void> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false });
  return async (request, response) => {
    const after = parseAfter(request);
    const job = await findJob(options, tenantOf(response), String(request.params.id));
    response.locals.jobId = job.id;
    // An EventSource comes back when it has been told everything; this tells it to stay away.
    if (after && isOver(after, job) && request.headers.upgrade === undefined) {
      response.status(204).end();
      return;
    }
    if (request.method === 'HEAD') {
      response.status(200).type('text/event-stream').end();
      return;
    }
    const place = options.readers.enter();
    try {
      const upgrade = takeUpgrade(response);
      const reader = upgrade ? openWebSocket(sockets, upgrade, response, place.signal) : openSse(response);
      await tell(options, job, { ...reader, after, draining: place.signal });
    } finally {
      place.leave();
    }
  };
}

interface Reader {
  sink: EventSink;
  closed: AbortSignal;
}

async function tell(
  options: JobEventsOptions,
  { tenant, id }: Pick<JobRecord, 'tenant' | 'id'>,
  { sink, closed, after, draining }: Reader & { after: EventCursor | undefined; draining: AbortSignal },
): Promise<void> {
  const { heartbeatMs, maxBufferBytes, metrics } = options;
  const signal = AbortSignal.any([closed, draining]);
  const events = jobEvents(options, { tenant, id, after, signal });
  try {
    const end = await deliverEvents({ events, sink, closed, heartbeatMs, maxBufferBytes });
    if (end === 'slow') metrics.eventReadersDropped.inc();
  } catch (error) {
    // It is too late for a status. The reader comes back, and is told then what is wrong.
    sink.drop();
    if (!(error instanceof Problem)) throw error;
  }
}

function openSse(response: Response): Reader {
  return { closed: abortOnClose(response), sink: openSseSink(response) };
}

/** Answers the request itself; the response is left with nothing but its place in the log. */
function openWebSocket(sockets: WebSocketServer, upgrade: Upgrade, response: Response, draining: AbortSignal): Reader {
  const webSocket = shakeHands(sockets, upgrade, response);
  const closed = new AbortController();
  upgrade.socket.on('close', () => {
    closed.abort();
    response.emit('close');
  });
  response.status(101);
  // A message that is too long, a frame that is none: ws closes the connection after it.
  webSocket.on('error', () => {});
  return { closed: closed.signal, sink: openWebSocketSink(webSocket, () => draining.aborted) };
}

/** ws would answer a wrong handshake by a page of its own: whoever listens to `wsClientError` has it to answer. @throws Problem malformed_http */
function shakeHands(sockets: WebSocketServer, upgrade: Upgrade, response: Response): WebSocket {
  let webSocket: WebSocket | undefined;
  let fault = 'the connection is closed';
  const onFault = (error: Error) => {
    fault = error.message;
  };
  sockets.once('wsClientError', onFault);
  // All of it happens within the call.
  sockets.handleUpgrade(upgrade.request, upgrade.socket, upgrade.head, (opened) => {
    webSocket = opened;
  });
  sockets.off('wsClientError', onFault);
  if (webSocket) return webSocket;
  returnUpgrade(response, upgrade);
  throw new Problem('malformed_http', `It is no handshake of a WebSocket: ${fault}.`);
}

/** Where the reader is: EventSource says it in a header when it comes back, and sends the query of its URL again. @throws Problem invalid_request */
function parseAfter(request: Request): EventCursor | undefined {
  const header = request.get('last-event-id');
  const text = header || request.query.starting_after;
  if (text === undefined || text === '') return undefined;
  const cursor = typeof text === 'string' ? parseEventCursor(text) : undefined;
  if (cursor) return cursor;
  const pointer = header ? 'Last-Event-ID' : '?starting_after';
  throw new Problem('invalid_request', `${pointer} is the id of an event, such as 1-0.`, {
    errors: [{ pointer, detail: 'the id of an event, such as 1-0' }],
  });
}

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Duplex } from 'node:stream';
import { Problem } from '@onqueue/shared';
import type { Logger } from 'pino';
import { newRequestId } from './request-context.ts';
import { acceptUpgrades } from './upgrade.ts';

/** A header arrives within this, a whole request within the other: a client that dawdles holds a socket, and no more. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
/**
 * A connection that is idle for so long is closed. Longer than load balancers keep theirs (60 s): a request that meets the closing of its connection is
 * lost, and only who closes first is sure that there is none.
 */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;

/**
 * The listener before Express. What node:http would refuse by itself, with a bare status line, is answered as a problem
 * here: what its parser cannot read never becomes a request, and so meets no middleware. What it can read goes to
 * `app` (see protocol-guard.ts), a missing `Host` and a strange `Expect` too.
 */
export function createHttpServer(app: RequestListener, logger: Logger): Server {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      requireHostHeader: false,
    },
    app,
  );
  const answers = new WeakMap<Duplex, ServerResponse>();
  server.on('request', (request, response) => answers.set(request.socket, response));
  server.on('checkExpectation', app);
  acceptUpgrades(server, app);
  server.on('clientError', (error: ParserError, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable || isAnswered(answers.get(socket))) {
      socket.destroy();
      return;
    }
    refuse(socket, toProblem(error), logger);
  });
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    refuse(socket, new Problem('malformed_http', 'CONNECT is for proxies; this server is none.'), logger);
  });
  return server;
}

type ParserError = NodeJS.ErrnoException & { reason?: string };

/** Whether what we wrote now would be taken for the answer to an earlier request, or cut into one. */
function isAnswered(response: ServerResponse | undefined): boolean {
  if (response === undefined || response.writableFinished) return false;
  return response.headersSent || response.req.complete;
}

/** The error's `rawPacket` holds what was sent: neither logged nor sent back. */
function toProblem({ code, reason }: ParserError): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('headers_too_large', 'The URL and the headers are larger than 16 KiB together.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('request_timeout', 'The request did not arrive in time.');
    default:
      return new Problem('malformed_http', `The request cannot be read: ${reason ?? 'it is no HTTP/1.1'}.`);
  }
}

function refuse(socket: Duplex, problem: Problem, logger: Logger): void {
  const requestId = newRequestId();
  const body = Buffer.from(JSON.stringify(problem.toDocument(requestId)));
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${body.length}`,
    `X-Request-Id: ${requestId}`,
    'Connection: close',
  ];
  logger.info({ request_id: requestId, status: problem.status, problem: problem.code }, 'request');
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]), () => socket.destroy());
}

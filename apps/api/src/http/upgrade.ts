import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Response } from 'express';

/** A connection whose request asks for WebSocket. */
export interface Upgrade {
  request: IncomingMessage;
  socket: Duplex;
  /** What has arrived behind the request. */
  head: Buffer;
}

/**
 * Lets `app` see requests that ask for WebSocket as any other: a route may take the connection over (`takeUpgrade`), all
 * else is answered as if there had been no such wish, and the connection closed. What asks for something else (curl's
 * `h2c`) is served as before: HTTP/1.1, its body and the requests behind it included.
 */
export function acceptUpgrades(server: Server, app: RequestListener): void {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.method !== 'GET' || request.headers.upgrade?.toLowerCase() !== 'websocket') {
      parseAgain(server, request, socket, head);
      return;
    }
    socket.on('error', () => socket.destroy());
    const response = new ServerResponse(request);
    // Express keeps locals that are there.
    Object.assign(response, { locals: { upgrade: { request, socket, head } satisfies Upgrade } });
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    response.on('finish', () => socket.end());
    app(request, response as Parameters<RequestListener>[1]);
  });
}

/** Undefined for a request that does not ask for WebSocket. Who takes it answers the request; the response ends with the connection. */
export function takeUpgrade(response: Response): Upgrade | undefined {
  const { upgrade } = response.locals as { upgrade?: Upgrade };
  if (upgrade) response.detachSocket(upgrade.socket as Socket);
  return upgrade;
}

/** The request is answered by the response after all. */
export function returnUpgrade(response: Response, { socket }: Upgrade): void {
  response.assignSocket(socket as Socket);
}

/** Node's parser gives a request up that asks for an upgrade: it gets it once more, without the wish. */
function parseAgain(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = request.rawHeaders.slice(i, i + 2);
    if (name.toLowerCase() !== 'upgrade') lines.push(`${name}: ${value}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}

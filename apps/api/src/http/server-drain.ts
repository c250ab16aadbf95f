import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { type Clock, systemClock } from '@onqueue/shared';

export interface ServerDrainOptions {
  server: Server;
  /** The listener stays open for so long: whoever sends requests here has to hear first that it should not. */
  delayMs: number;
  /** Then requests in flight have so long to be answered. */
  timeoutMs: number;
  /** The listener closes: whoever holds requests open lets go of them. */
  onClosing: () => void;
  clock?: Clock;
}

/** What an idle connection gets when the listener has closed: a request that is on its way to it is answered. */
const IDLE_GRACE_MS = 100;

/**
 * Ends a server so that no request is cut off. node:http's own `close()` destroys idle connections in the same moment, and with them the requests that
 * clients have just sent over them.
 *
 * open ── begin ──> leaving ── `delayMs` ──> closing ── all answered, or `timeoutMs` ──> closed
 *
 * leaving: as open, but every answer says `Connection: close`, so that clients with a connection go elsewhere, and balancers see `/readyz` red.
 * closing: no new connections. Idle ones are closed after a short grace, the others with their answers.
 */
export class ServerDrain {
  readonly #options: ServerDrainOptions;
  readonly #clock: Clock;
  /** The newest answer of each connection. */
  readonly #answers = new Map<Socket, ServerResponse>();
  #isLeaving = false;

  constructor(options: ServerDrainOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { server } = options;
    server.on('connection', (socket) => socket.once('close', () => this.#answers.delete(socket)));
    const note = (request: IncomingMessage, response: ServerResponse) => {
      this.#answers.set(request.socket, response);
      if (this.#isLeaving) closeAfter(response);
    };
    // Before the app, which may answer at once.
    server.prependListener('request', note).prependListener('checkExpectation', note);
  }

  /** Resolves when the last connection is closed. */
  async begin(): Promise<void> {
    const { server, delayMs, timeoutMs, onClosing } = this.#options;
    this.#isLeaving = true;
    for (const response of this.#answers.values()) closeAfter(response);
    await this.#pause(delayMs);
    // Closes the listener and nothing else.
    const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()));
    onClosing();
    const idle = this.#clock.setTimeout(() => server.closeIdleConnections(), Math.min(IDLE_GRACE_MS, timeoutMs));
    const deadline = this.#clock.setTimeout(() => server.closeAllConnections(), timeoutMs);
    await closed;
    idle.cancel();
    deadline.cancel();
    // What is left to it: its own timer.
    server.close();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimeout(resolve, ms);
    });
  }
}

/** A head that is sent (a stream's) cannot say it any more: its connection ends with its answer. */
function closeAfter(response: ServerResponse): void {
  if (!response.headersSent) response.shouldKeepAlive = false;
  else if (!response.writableFinished) response.once('finish', () => response.req.socket.end());
}

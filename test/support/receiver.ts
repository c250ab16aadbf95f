import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** What the receiver does with a request. */
type Answer =
  | { status: number; headers?: Record<string, string>; body?: string }
  /** Never answers. */
  | { hang: 'headers' }
  /** Answers with headers and the start of a body that never ends. */
  | { hang: 'body'; status?: number }
  /** Answers with a body that flows for as long as somebody reads. */
  | { endless: true; status?: number }
  /** Answers with a body that comes byte by byte, one each time `next` resolves, and never ends. */
  | { drip: () => Promise<unknown>; status?: number }
  /** Answers once the promise has resolved. */
  | { after: Promise<unknown>; status: number }
  /** Cuts the connection instead of answering. */
  | { cut: true }
  /** Resets the connection in the middle of its body. */
  | { reset: true; status?: number };

/** Whose certificate a receiver shows: see certificates/make.sh. */
export type TestCertificate = 'valid' | 'expired' | 'other-name' | 'self-signed';

const certificates = new URL('./certificates/', import.meta.url);
/** Of the authority that signed `valid`, `expired` and `other-name`. */
export const testCa = () => readFileSync(new URL('ca.pem', certificates), 'utf8');

export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** A receiver of webhooks on 127.0.0.1, for tests, that can do whatever receivers do to senders. */
export interface Receiver {
  /** `http://127.0.0.1:<port><path>`; `https:` with a certificate. */
  url(path?: string): string;
  readonly port: number;
  /** Requests whose body has arrived, in order. */
  readonly requests: readonly ReceivedRequest[];
  /** Connections that were accepted, whether or not a request came. */
  readonly connections: number;
  /** Bytes of endless bodies that were handed to the socket. */
  readonly endlessBytes: number;
  /** Answers to the next requests, in order; after them 200. */
  respond(...answers: Answer[]): void;
  /** Answers to every request from now on, once the script is through. */
  respondAlways(answer: Answer): void;
  /** Told of each request when it has arrived, before it is answered. */
  onRequest(listener: (request: ReceivedRequest) => void): void;
  /** Resolves with the first `n` requests once there are as many. */
  waitFor(n: number): Promise<ReceivedRequest[]>;
  /** Resolves once `n` connections have been closed by either side. */
  waitForClosed(n: number): Promise<void>;
  close(): Promise<void>;
}

export async function startReceiver({
  tls,
  port: wanted = 0,
}: {
  tls?: TestCertificate;
  port?: number;
} = {}): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  const script: Answer[] = [];
  let always: Answer = { status: 200 };
  const listeners: ((request: ReceivedRequest) => void)[] = [];
  const counters = { connections: 0, closed: 0, endlessBytes: 0 };
  const waiters = new Set<() => void>();
  const changed = () => {
    for (const check of waiters) check();
  };
  const until = (isTrue: () => boolean) =>
    new Promise<void>((resolve) => {
      const check = () => {
        if (!isTrue()) return;
        waiters.delete(check);
        resolve();
      };
      waiters.add(check);
      check();
    });

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // The sender hung up in the middle of its request.
    }
    const { method = '', url = '', headers } = request;
    const received = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
    requests.push(received);
    for (const listener of listeners) listener(received);
    answer(response, script.shift() ?? always, (bytes) => {
      counters.endlessBytes += bytes;
    });
    changed();
  };
  const file = (name: string) => readFileSync(new URL(name, certificates));
  const server = tls
    ? createTlsServer({ key: file(`${tls}.key`), cert: file(`${tls}.pem`) }, handle)
    : createServer(handle);
  server.on('tlsClientError', () => {}); // A sender that does not trust us is part of the tests, too.
  server.on('connection', (socket) => {
    counters.connections += 1;
    socket.on('error', () => {}); // A sender that drops the connection is part of the tests.
    socket.on('close', () => {
      counters.closed += 1;
      changed();
    });
  });
  server.listen(wanted, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    port,
    requests,
    url: (path = '/hook') => `${tls ? 'https' : 'http'}://127.0.0.1:${port}${path}`,
    get connections() {
      return counters.connections;
    },
    get endlessBytes() {
      return counters.endlessBytes;
    },
    respond(...answers) {
      script.push(...answers);
    },
    respondAlways(given) {
      always = given;
    },
    onRequest(listener) {
      listeners.push(listener);
    },
    async waitFor(n) {
      await until(() => requests.length >= n);
      return requests.slice(0, n);
    },
    waitForClosed: (n) => until(() => counters.closed >= n),
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(response: ServerResponse, how: Answer, countEndless: (bytes: number) => void): void {
  if ('cut' in how) {
    response.destroy();
  } else if ('endless' in how) {
    response.writeHead(how.status ?? 200);
    const chunk = Buffer.alloc(16 * 1024, 'x');
    const flow = () => {
      let isWritable = !response.destroyed;
      while (isWritable) {
        countEndless(chunk.length);
        isWritable = response.write(chunk);
      }
    };
    response.on('drain', flow);
    flow();
  } else if ('drip' in how) {
    response.writeHead(how.status ?? 200);
    const dripOn = async () => {
      while (!response.destroyed) {
        response.write('.');
        await how.drip();
      }
    };
    void dripOn();
  } else if ('after' in how) {
    void how.after.then(() => response.writeHead(how.status).end());
  } else if ('reset' in how) {
    response.writeHead(how.status ?? 200, { 'content-length': 1000 });
    response.write('and then', () => (response.socket as Socket | null)?.resetAndDestroy());
  } else if (!('hang' in how)) {
    response.writeHead(how.status, how.headers).end(how.body);
  } else if (how.hang === 'body') {
    response.writeHead(how.status ?? 200);
    response.write('and then');
  }
}

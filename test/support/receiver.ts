import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the receiver does with a request. */
type Answer =
  | { status: number; headers?: Record<string, string>; body?: string }
  /** Never answers. */
  | { hang: 'headers' }
  /** Answers with headers and the start of a body that never ends. */
  | { hang: 'body'; status?: number }
  /** Answers with a body that flows for as long as somebody reads. */
  | { endless: true; status?: number }
  /** Cuts the connection instead of answering. */
  | { cut: true };

export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** A receiver of webhooks on 127.0.0.1, for tests. */
export interface Receiver {
  /** `http://127.0.0.1:<port><path>`. */
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
  /** Resolves with the first `n` requests once there are as many. */
  waitFor(n: number): Promise<ReceivedRequest[]>;
  /** Resolves once `n` connections have been closed by either side. */
  waitForClosed(n: number): Promise<void>;
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  const script: Answer[] = [];
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

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // The sender hung up in the middle of its request.
    }
    const { method = '', url = '', headers } = request;
    requests.push({ method, path: url, headers, body: Buffer.concat(chunks).toString() });
    answer(response, script.shift() ?? { status: 200 }, (bytes) => {
      counters.endlessBytes += bytes;
    });
    changed();
  });
  server.on('connection', (socket) => {
    counters.connections += 1;
    socket.on('error', () => {}); // A sender that drops the connection is part of the tests.
    socket.on('close', () => {
      counters.closed += 1;
      changed();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    port,
    requests,
    url: (path = '/hook') => `http://127.0.0.1:${port}${path}`,
    get connections() {
      return counters.connections;
    },
    get endlessBytes() {
      return counters.endlessBytes;
    },
    respond(...answers) {
      script.push(...answers);
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
  } else if (!('hang' in how)) {
    response.writeHead(how.status, how.headers).end(how.body);
  } else if (how.hang === 'body') {
    response.writeHead(how.status ?? 200);
    response.write('and then');
  }
}

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceivedDelivery {
  headers: IncomingHttpHeaders;
  /** As it came: it is what was signed. */
  body: Buffer;
}

export interface ReceiverAnswer {
  status: number;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array | string;
}

export interface DeliveryReceiver {
  /** Where deliveries come in: this machine alone reaches it. */
  url: string;
  /** Lets answers end that are under way. */
  close(): Promise<void>;
}

/** Bodies of events are below 20 KiB; nothing that is much longer is one. */
const MAX_BODY_BYTES = 1024 * 1024;

/** A server on a free port of loopback that has `answer` say what becomes of each POST. */
export async function openDeliveryReceiver(
  answer: (delivery: ReceivedDelivery) => Promise<ReceiverAnswer>,
): Promise<DeliveryReceiver> {
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    const body = request.method === 'POST' ? await readBody(request) : undefined;
    if (body === undefined) {
      response.writeHead(request.method === 'POST' ? 413 : 405).end();
      return;
    }
    const { status, headers, body: text } = await answer({ headers: request.headers, body });
    response.writeHead(status, headers).end(text);
  };
  const server = createServer((request, response) => {
    // A kept connection would hold up the end by as long as the sender keeps it.
    response.shouldKeepAlive = false;
    // It hung up while it was read or answered; it will come again.
    respond(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      await closed;
    },
  };
}

/** Undefined when it is too long. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Answers like the platform, at once and without doing anything: what the load generator measures here is itself. */
export async function startEchoServer(): Promise<EchoServer> {
  const server = createServer((request, response) => {
    request.resume();
    request.once('end', () => {
      const isPost = request.method === 'POST';
      const body = isPost ? '{"id":"job_echo"}' : '{"id":"job_echo","status":"succeeded"}';
      response.writeHead(isPost ? 202 : 200, { 'content-type': 'application/json', 'content-length': body.length });
      response.end(body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => close(server) };
}

export interface EchoServer {
  baseUrl: string;
  close(): Promise<void>;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { answerParent } from '../bench-child.ts';
import { receiverQuestion } from './receiver-protocol.ts';

/** Receivers that read an event, note when it came, and answer 204; or that say nothing. */
const dead = new Set<number>();
const hanging = new Set<Socket>();
const seen = new Set<string>();
let latenciesMs: number[] = [];
let firstMs = 0;
let lastMs = 0;
let connections = 0;
let isEnough = () => {};
let wanted = Number.POSITIVE_INFINITY;

async function receive(index: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (dead.has(index)) {
    hanging.add(request.socket);
    return;
  }
  response.writeHead(204).end();
  // At least once: the second is not counted.
  const id = String(request.headers['webhook-id']);
  if (seen.has(id)) return;
  seen.add(id);
  const { timestamp } = JSON.parse(Buffer.concat(chunks).toString()) as { timestamp: string };
  lastMs = performance.timeOrigin + performance.now();
  if (firstMs === 0) firstMs = lastMs;
  latenciesMs.push(lastMs - Date.parse(timestamp));
  if (latenciesMs.length >= wanted) isEnough();
}

answerParent(async (message) => {
  const question = receiverQuestion.parse(message);
  if (question.kind === 'open') {
    const ports: number[] = [];
    for (let index = 0; index < question.receivers; index++) {
      const server = createServer((request, response) => {
        receive(index, request, response).catch(() => undefined);
      });
      server.keepAliveTimeout = 60_000;
      server.on('connection', () => {
        connections += 1;
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      ports.push((server.address() as AddressInfo).port);
    }
    return { ports };
  }
  if (question.kind === 'revive') {
    const revived = hanging.size;
    dead.clear();
    for (const socket of hanging) socket.destroy();
    hanging.clear();
    return { revived };
  }
  latenciesMs = [];
  firstMs = 0;
  connections = 0;
  wanted = question.count;
  for (const index of question.dead) dead.add(index);
  await new Promise<void>((resolve) => {
    isEnough = resolve;
  });
  wanted = Number.POSITIVE_INFINITY;
  return { elapsedMs: lastMs - firstMs, connections, latenciesMs };
});

import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import type { Clock } from '@onqueue/shared';
import { ServerDrain } from './server-drain.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A server, and the timers of its drain, which go off when the test says. */
async function serve(app: RequestListener = (_request, response) => response.end('hello')) {
  const timers = new Map<number, () => void>();
  const clock: Clock = {
    now: () => 0,
    setTimeout: (callback, ms) => {
      timers.set(ms, callback);
      return { cancel: () => void timers.delete(ms) };
    },
  };
  const server = createServer(app);
  servers.push(server);
  const closing: string[] = [];
  const drain = new ServerDrain({
    server,
    delayMs: DELAY,
    timeoutMs: TIMEOUT,
    onClosing: () => void closing.push('closing'),
    clock,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = () => connect(port, '127.0.0.1');
  return { server, drain, closing, open, pass: (ms: number) => timers.get(ms)?.() };
}

const [DELAY, TIMEOUT, GRACE] = [5000, 10_000, 100];
const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

async function ask(socket: Socket): Promise<string> {
  socket.write(GET);
  return String((await once(socket, 'data'))[0]);
}

test('answers as before while it leaves, and says with each answer that the connection ends', async () => {
  const { drain, open, closing, pass } = await serve();
  const kept = open();
  expect(await ask(kept)).toContain('Connection: keep-alive');
  const drained = drain.begin();
  expect(await ask(kept)).toContain('Connection: close');
  await once(kept, 'end');
  // And to who comes only now.
  const late = open();
  expect(await ask(late)).toContain('Connection: close');
  expect(closing).toEqual([]);
  pass(DELAY);
  await drained;
  expect(closing).toEqual(['closing']);
});

test('a request that was on its way when the drain began is told too', async () => {
  let answer: (() => void) | undefined;
  const { drain, open, pass } = await serve((_request, response) => {
    answer = () => response.end('late');
  });
  const socket = open();
  socket.write(GET);
  while (answer === undefined) await new Promise(setImmediate);
  const drained = drain.begin();
  (answer as () => void)();
  expect(String((await once(socket, 'data'))[0])).toContain('Connection: close');
  pass(DELAY);
  await drained;
});

test('a request over a kept connection is answered though the listener has closed', async () => {
  const { server, drain, open, pass } = await serve();
  const [busy, idle] = [open(), open()];
  await ask(busy);
  await ask(idle);
  const drained = drain.begin();
  pass(DELAY);
  while (server.listening) await new Promise(setImmediate);
  const refused = open();
  expect(await once(refused, 'error')).toMatchObject([{ code: 'ECONNREFUSED' }]);
  const answer = await ask(busy);
  expect([answer.split('\r\n')[0], answer.includes('Connection: close')]).toEqual(['HTTP/1.1 200 OK', true]);
  expect(idle.readableEnded).toBe(false);
  pass(GRACE);
  idle.resume();
  await once(idle, 'close');
  await drained;
});

test('who is not answered in time is cut off', async () => {
  const { server, drain, open, pass } = await serve(() => {
    // Never answered.
  });
  const socket = open();
  socket.on('error', () => {});
  socket.write(GET);
  await once(server, 'request');
  const drained = drain.begin();
  pass(DELAY);
  while (server.listening) await new Promise(setImmediate);
  pass(GRACE);
  pass(TIMEOUT);
  await drained;
  if (!socket.closed) await once(socket, 'close');
});

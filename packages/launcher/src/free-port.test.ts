import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from '@jest/globals';
import { assertPortFree, freePort, parsePort } from './free-port.ts';

test('hands out each port once, below the range of outgoing connections', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, () => freePort()));
  expect(new Set(ports).size).toBe(50);
  expect(Math.max(...ports)).toBeLessThan(32_768);
});

test('a taken port is refused in one line that names the variable and a port that is free', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const message = await assertPortFree(port, '127.0.0.1', 'ONQUEUE_PORT').catch((error: Error) => error.message);
  expect(message).toMatch(
    new RegExp(`^Port ${port} is in use\\. Set ONQUEUE_PORT to a free one, such as ONQUEUE_PORT=\\d+\\.$`),
  );
  const suggested = Number(/=(\d+)/.exec(String(message))?.[1]);
  await expect(assertPortFree(suggested, '127.0.0.1', 'ONQUEUE_PORT')).resolves.toBeUndefined();
  await expect(assertPortFree(port, '127.0.0.1', 'ONQUEUE_WORKER_PORT', [suggested])).rejects.not.toThrow(
    String(suggested),
  );
  server.close();
  await once(server, 'close');
});

test('reads a port from text and refuses what is none', () => {
  expect(parsePort('8081', 'ONQUEUE_PORT')).toBe(8081);
  expect(parsePort('', 'ONQUEUE_PORT')).toBeUndefined();
  for (const text of ['http', '-1', '70000', '80.5']) {
    expect(() => parsePort(text, 'ONQUEUE_PORT')).toThrow('ONQUEUE_PORT must be a port');
  }
});

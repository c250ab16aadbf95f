import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { problemDocument } from '@onqueue/shared';
import { Registry } from 'prom-client';
import { createOperationsServer } from './operations-server.ts';

let server: ReturnType<typeof createOperationsServer>;
let isReady = true;

beforeEach(async () => {
  isReady = true;
  server = createOperationsServer({
    registry: new Registry(),
    readiness: async () => ({ isReady, detail: { status: 'a phase' } }),
    onScrape: () => {},
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => once(server.close(), 'close'));

function ask(path: string, method = 'GET') {
  const { port } = server.address() as AddressInfo;
  return fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { connection: 'close' } });
}

test('says whether it lives, is ready, and what it counts', async () => {
  expect((await ask('/livez')).status).toBe(200);
  const ready = await ask('/readyz?verbose');
  expect([ready.status, await ready.json()]).toEqual([200, { status: 'a phase' }]);
  isReady = false;
  expect((await ask('/readyz')).status).toBe(503);
  expect((await ask('/readyz', 'HEAD')).status).toBe(503);
  expect((await ask('/metrics')).headers.get('content-type')).toContain('text/plain');
});

test.each([
  ['POST', '/readyz', 405, 'method_not_allowed'],
  ['DELETE', '/metrics', 405, 'method_not_allowed'],
  ['GET', '/jobs', 404, 'not_found'],
  ['GET', '/constructor', 404, 'not_found'],
  ['POST', '/', 404, 'not_found'],
])('%s %s is answered %i as the API would', async (method, path, status, code) => {
  const response = await ask(path, method);
  expect(response.status).toBe(status);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(response.headers.get('allow')).toBe(status === 405 ? 'GET, HEAD' : null);
  const document = problemDocument.parse(await response.json());
  expect(document).toMatchObject({ status, code, request_id: response.headers.get('x-request-id') });
});

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import express from 'express';
import { discardRest } from './discard-rest.ts';

const app = express();
app.post('/', async (request, response) => {
  await discardRest(request);
  response.set('Connection', 'close').status(413).send('too large');
});
let server: ReturnType<typeof app.listen>;
let url: string;

beforeAll(async () => {
  server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test.each([0, 1, 900_000])('a client that still sends %i bytes gets its answer', async (bytes) => {
  for (let time = 0; time < 20; time++) {
    const answer = await fetch(url, { method: 'POST', body: new Uint8Array(bytes) });
    expect([answer.status, await answer.text()]).toEqual([413, 'too large']);
  }
});

test('what a client goes on to send is not read to its end', async () => {
  let sent = 0;
  const endless = new ReadableStream({
    pull(controller) {
      sent += 65_536;
      controller.enqueue(new Uint8Array(65_536));
      if (sent > 1e9) controller.close();
    },
  });
  const answer = fetch(url, { method: 'POST', body: endless, duplex: 'half' } as RequestInit);
  // Its answer, or a connection that was closed on it.
  await answer.then(
    (response) => expect(response.status).toBe(413),
    () => undefined,
  );
  expect(sent).toBeLessThan(100e6);
});

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { exampleRequest } from './example-request.ts';

let close: () => Promise<unknown> = async () => undefined;
afterEach(() => close());

async function serve(status: number, body: unknown): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status).end(JSON.stringify(body)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  close = () => once(server.close(), 'close');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('posts the example row of the model, quoted for a shell', async () => {
  const url = await serve(200, { name: 'fraud', example: { merchant: "Joe's", amount: 12.5 } });
  expect(await exampleRequest(url, 'fraud')).toBe(
    `curl -s ${url}/jobs -H 'content-type: application/json' -d '{"model":"fraud","inputs":[{"merchant":"Joe'\\''s","amount":12.5}]}'`,
  );
});

test('lists the models when the model is not served', async () => {
  const url = await serve(404, { title: 'Not found' });
  expect(await exampleRequest(url, 'fraud')).toBe(`curl -s ${url}/models`);
});

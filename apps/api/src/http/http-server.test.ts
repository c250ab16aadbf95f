import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { createHttpServer } from './http-server.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(app: RequestListener = (_request, response) => response.end('hello')): Promise<Server> {
  const server = createHttpServer(app, pino({ level: 'silent' }));
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function open(server: Server): Socket {
  return connect((server.address() as AddressInfo).port, '127.0.0.1');
}

/** All that comes until the server closes. */
async function answerTo(server: Server, sent: string | Buffer): Promise<string> {
  const socket = open(server);
  socket.write(sent);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

function parse(answer: string) {
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(': ')));
  return {
    status: Number(statusLine.split(' ')[1]),
    headers,
    body: JSON.parse(body),
    bodyBytes: Buffer.byteLength(body),
  };
}

describe('what the parser of node:http cannot read', () => {
  test.each([
    ['no HTTP at all', 'nonsense\r\n\r\n', 400, 'malformed_http'],
    ['an unknown method', 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'malformed_http'],
    ['an unknown version', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n', 400, 'malformed_http'],
    ['a URL that is not ASCII', Buffer.from('GET /é HTTP/1.1\r\nHost: x\r\n\r\n', 'latin1'), 400, 'malformed_http'],
    [
      'both lengths',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'malformed_http',
    ],
    ['a proxy request', 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'malformed_http'],
    ['a header of 20 KB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['a URL of 20 KB', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, 'headers_too_large'],
  ])('is answered as a problem: %s', async (_, sent, status, code) => {
    const answer = parse(await answerTo(await serve(), sent));
    expect(answer).toMatchObject({ status, body: { status, code } });
    expect(answer.headers).toMatchObject({
      'content-type': expect.stringMatching(/^application\/problem\+json/),
      'content-length': String(answer.bodyBytes),
      'x-request-id': answer.body.request_id,
      connection: 'close',
    });
  });

  test('is answered as a problem in the middle of a body', async () => {
    const server = await serve((request) => request.resume().on('error', () => {}));
    const sent = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n';
    expect(parse(await answerTo(server, sent))).toMatchObject({ status: 400, body: { code: 'malformed_http' } });
  });

  test('is answered as a problem after a request that was answered', async () => {
    const server = await serve();
    const socket = open(server);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1\.1 200/);
    socket.write('nonsense\r\n\r\n');
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1\.1 400/);
  });

  test('never stands in for the answer to the request before it', async () => {
    const server = await serve(() => {
      // A long poll: it has not been answered yet.
    });
    expect(await answerTo(server, 'GET / HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n')).toBe('');
  });
});

test('a request that does not arrive in time is answered 408', async () => {
  const server = await serve();
  const socket = new PassThrough();
  server.emit('clientError', Object.assign(new Error(), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  expect(parse(text)).toMatchObject({ status: 408, body: { code: 'request_timeout' } });
});

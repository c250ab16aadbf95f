import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Reply } from './openapi/api-document.ts';

/** A request to the letter: path and headers go as they are, which `fetch` does not let them. */
export interface RawRequest {
  method: string;
  /** With its query, escaped or not. */
  path: string;
  headers: Record<string, string>;
  body?: Buffer;
}

export interface RawReply extends Reply {
  headers: IncomingMessage['headers'];
}

/** Connections are kept: thousands of requests would use up the ports of a machine. */
export class RawClient {
  static readonly MAX_SOCKETS = 16;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: RawClient.MAX_SOCKETS });
  readonly #baseUrl: URL;

  constructor(baseUrl: string) {
    this.#baseUrl = new URL(baseUrl);
  }

  send({ method, path, headers, body }: RawRequest): Promise<RawReply> {
    const { hostname: host, port } = this.#baseUrl;
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    return new Promise((resolve, reject) => {
      let isAnswered = false;
      const request = httpRequest({ host, port, method, path, headers: { ...length, ...headers }, agent: this.#agent });
      // Once there is an answer, a connection that closes is no matter: who refuses a body does not read it.
      request.on('error', (error) => {
        if (!isAnswered) reject(error);
      });
      request.on('upgrade', (response, socket) => {
        isAnswered = true;
        socket.destroy();
        resolve(replyOf(response, method, ''));
      });
      request.on('response', (response) => {
        isAnswered = true;
        readBody(response).then((text) => {
          if (!request.writableFinished) request.destroy();
          resolve(replyOf(response, method, text));
        }, reject);
      });
      request.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A stream of events lasts as long as its job: its head says enough. */
async function readBody(response: IncomingMessage): Promise<string> {
  if (response.headers['content-type']?.startsWith('text/event-stream')) {
    response.destroy();
    return '';
  }
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function replyOf(response: IncomingMessage, method: string, text: string): RawReply {
  const contentType = response.headers['content-type'] ?? null;
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    contentType,
    body: /[/+]json\b/.test(contentType ?? '') ? parsed(text) : text,
    isHead: method === 'HEAD',
  };
}

/** As text where it is no JSON: no schema of ours allows that. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

import { randomUUID } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { Problem } from '@onqueue/shared';
import type { Registry } from 'prom-client';

export interface OperationsServerOptions {
  registry: Registry;
  /** What `/readyz` answers: 200 when `isReady`, else 503, with the detail as JSON. */
  readiness: () => Promise<{ isReady: boolean; detail: Record<string, unknown> }>;
  onScrape: () => void;
}

/** The worker's own listener: `/livez`, `/readyz`, `/metrics`. Nothing that changes anything. */
export function createOperationsServer({ registry, readiness, onScrape }: OperationsServerOptions): Server {
  const routes: Record<string, (response: ServerResponse) => Promise<void> | void> = {
    '/livez': (response) => sendJson(response, 200, { status: 'ok' }),
    '/readyz': async (response) => {
      const { isReady, detail } = await readiness();
      sendJson(response, isReady ? 200 : 503, detail);
    },
    '/metrics': async (response) => {
      onScrape();
      response.setHeader('Content-Type', registry.contentType).end(await registry.metrics());
    },
  };
  return createServer((request, response) => {
    const path = request.url?.split('?')[0] ?? '';
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const { method } = request;
    if (!route) {
      const paths = 'A worker answers /livez, /readyz and /metrics; jobs go to the API.';
      sendProblem(response, new Problem('not_found', paths));
    } else if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      sendProblem(response, new Problem('method_not_allowed', `${method} is not allowed here; GET and HEAD are.`));
    } else {
      void route(response);
    }
  });
}

function sendJson(response: ServerResponse, status: number, body: object, type = 'application/json'): void {
  response.writeHead(status, { 'Content-Type': type }).end(JSON.stringify(body));
}

function sendProblem(response: ServerResponse, problem: Problem): void {
  const requestId = `req_${randomUUID().replaceAll('-', '')}`;
  response.setHeader('X-Request-Id', requestId);
  sendJson(response, problem.status, problem.toDocument(requestId), 'application/problem+json');
}

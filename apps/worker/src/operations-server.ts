import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';

export interface OperationsServerOptions {
  registry: Registry;
  /** What `/readyz` answers: 200 when `isReady`, else 503, with the detail as JSON. */
  readiness: () => Promise<{ isReady: boolean; detail: Record<string, unknown> }>;
  onScrape: () => void;
}

/** The worker's own listener: `/livez`, `/readyz`, `/metrics`. Nothing that changes anything. */
export function createOperationsServer({ registry, readiness, onScrape }: OperationsServerOptions): Server {
  return createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/livez') {
      sendJson(response, 200, { status: 'ok' });
    } else if (path === '/readyz') {
      void readiness().then(({ isReady, detail }) => sendJson(response, isReady ? 200 : 503, detail));
    } else if (path === '/metrics') {
      onScrape();
      void registry.metrics().then((text) => response.setHeader('Content-Type', registry.contentType).end(text));
    } else {
      sendJson(response, 404, { detail: 'A worker answers /livez, /readyz and /metrics; jobs go to the API.' });
    }
  });
}

function sendJson(response: ServerResponse, status: number, body: Record<string, unknown>): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

export interface SunkWebhook {
  key: string;
  event: string;
  type: string;
  id: string;
  /** Null in a thin body, as are the others. */
  run: number | null;
  attempt: number | null;
  score: number | null;
  body: string;
}

const body = z.object({
  type: z.string(),
  data: z.object({
    id: z.string(),
    run: z.number().optional(),
    attempt: z.number().optional(),
    results: z.array(z.object({ output: z.object({ score: z.number().optional() }).optional() })).nullish(),
  }),
});

/** A receiver for several scenarios at a time: what comes for one that is over is answered and forgotten. */
export class WebhookSink {
  readonly #server = createServer();
  readonly #scenes = new Map<string, (webhook: SunkWebhook) => void>();

  static async start(): Promise<WebhookSink> {
    const sink = new WebhookSink();
    sink.#server.listen(0, '127.0.0.1');
    await once(sink.#server, 'listening');
    return sink;
  }

  private constructor() {
    this.#server.on('request', async (request, response) => {
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of request) chunks.push(chunk as Buffer);
      } catch {
        return; // The sender was killed in the middle of its request.
      }
      const text = Buffer.concat(chunks).toString();
      const [scene = '', key = ''] = String(request.url).slice(1).split('/');
      const { type, data } = body.parse(JSON.parse(text));
      const event = String(request.headers['webhook-id']);
      this.#scenes.get(scene)?.({
        key,
        event,
        type,
        id: data.id,
        run: data.run ?? null,
        attempt: data.attempt ?? null,
        score: data.results?.[0]?.output?.score ?? null,
        body: text,
      });
      response.end();
    });
  }

  url(scene: string, key: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${scene}/${key}`;
  }

  listen(scene: string, onWebhook: (webhook: SunkWebhook) => void): void {
    this.#scenes.set(scene, onWebhook);
  }

  forget(scene: string): void {
    this.#scenes.delete(scene);
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

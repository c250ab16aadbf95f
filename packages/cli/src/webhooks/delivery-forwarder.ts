import { signWebhook, type WebhookSecret } from '@onqueue/shared';
import type { ReceivedDelivery, ReceiverAnswer } from './delivery-receiver.ts';

export interface DeliveryForwarderOptions {
  url: string;
  /** Signs what is forwarded beside those who have. */
  secret: WebhookSecret | undefined;
  timeoutMs?: number;
}

/** What the target answered, or why it did not. */
export type Forwarded = { answer: ReceiverAnswer } | { error: string };

/** About a connection, and not about what goes over it. */
const HOP_BY_HOP = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** What the sender goes by. The others describe the body as it came over the wire to us. */
const ANSWERED = ['content-type', 'retry-after', 'location'];
/** As much as the sender reads. */
const MAX_ANSWER_BYTES = 65_536;
/** As long as the sender waits unless told otherwise. */
const TIMEOUT_MS = 15_000;

/** Hands a delivery on as it came: the same bytes under the same headers. Never rejects. */
export async function forwardDelivery(
  { headers, body }: ReceivedDelivery,
  { url, secret, timeoutMs = TIMEOUT_MS }: DeliveryForwarderOptions,
): Promise<Forwarded> {
  const forwarded = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    HOP_BY_HOP.has(name) || value === undefined ? [] : [[name, String(value)]],
  );
  const signature = withSignature({ headers, body }, secret);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: [...forwarded.filter(([name]) => name !== 'webhook-signature'), ['webhook-signature', signature]],
      body: new Uint8Array(body),
      // A redirect is an answer like any other: the sender decides what comes of it.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const answered = ANSWERED.flatMap((name): [string, string][] => {
      const value = response.headers.get(name);
      return value === null ? [] : [[name, value]];
    });
    const answer = { status: response.status, headers: Object.fromEntries(answered), body: await readAnswer(response) };
    return { answer };
  } catch (error) {
    return { error: reasonOf(error as Error, timeoutMs) };
  }
}

function withSignature({ headers, body }: ReceivedDelivery, secret: WebhookSecret | undefined): string {
  const given = String(headers['webhook-signature'] ?? '');
  if (!secret) return given;
  const id = String(headers['webhook-id']);
  const mine = signWebhook({ id, timestampS: Number(headers['webhook-timestamp']), body, secret });
  return given.split(' ').includes(mine) ? given : `${given} ${mine}`;
}

async function readAnswer(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES);
}

/** fetch() says only that it failed, and why in its cause. */
function reasonOf(error: Error, timeoutMs: number): string {
  if (error.name === 'TimeoutError') return `no answer in ${timeoutMs / 1000} s`;
  const cause = error.cause instanceof Error ? error.cause : error;
  return cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name);
}

import { verifyWebhook, type WebhookSecret, WebhookVerificationError } from '@onqueue/shared';
import { type Forwarded, forwardDelivery } from './delivery-forwarder.ts';
import type { ReceivedDelivery, ReceiverAnswer } from './delivery-receiver.ts';
import { parseEventBody, type ShownDelivery } from './shown-delivery.ts';

export interface DeliveryListenerOptions {
  /** What has to have signed: any of them. A delivery may come before the one who makes them has told. */
  secrets: Promise<readonly WebhookSecret[]>;
  /** Where deliveries go on to; undefined: nowhere, they are shown and answered 204. */
  forwardTo: string | undefined;
  /** Signs what is forwarded, too. */
  forwardSecret: WebhookSecret | undefined;
  onDelivery: (delivery: ShownDelivery) => void;
  /** Unix milliseconds. */
  wallClock?: () => number;
}

/** Verifies a delivery, hands it on, and answers what the target has answered. What is not genuine goes nowhere. */
export function createDeliveryListener(
  options: DeliveryListenerOptions,
): (delivery: ReceivedDelivery) => Promise<ReceiverAnswer> {
  const { secrets, forwardTo, forwardSecret, onDelivery, wallClock = Date.now } = options;
  return async (delivery) => {
    const receivedMs = wallClock();
    const id = delivery.headers['webhook-id'];
    const reason = refusalOf(delivery, await secrets, receivedMs / 1000);
    const startedMs = performance.now();
    const forwarded: Forwarded | undefined =
      reason === null && forwardTo !== undefined
        ? await forwardDelivery(delivery, { url: forwardTo, secret: forwardSecret })
        : undefined;
    const answer = answerTo(reason, forwarded);
    onDelivery({
      object: 'delivery',
      received_at: new Date(receivedMs).toISOString(),
      event_id: id === undefined ? null : String(id),
      ...parseEventBody(delivery.body),
      verified: reason === null,
      reason,
      status: answer.status,
      forward_ms: forwarded ? Math.round(performance.now() - startedMs) : null,
      forward_error: forwarded && 'error' in forwarded ? forwarded.error : null,
    });
    return answer;
  };
}

/** What the sender takes as: it is none of yours; try again; or done. */
function answerTo(reason: string | null, forwarded: Forwarded | undefined): ReceiverAnswer {
  if (reason !== null) return { status: 401, body: reason };
  if (!forwarded) return { status: 204 };
  return 'answer' in forwarded ? forwarded.answer : { status: 502, body: forwarded.error };
}

function refusalOf(
  { headers, body }: ReceivedDelivery,
  secrets: readonly WebhookSecret[],
  nowS: number,
): string | null {
  try {
    verifyWebhook({ headers, body, secrets, nowS });
    return null;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error.reason;
    throw error;
  }
}

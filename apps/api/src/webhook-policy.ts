import { isInNetworks, isPublicAddress, literalAddress, Problem, parseNetworks } from '@onqueue/shared';
import { invalidRequest } from './http/validation.ts';

export interface WebhookPolicyOptions {
  isConfigured: boolean;
  allowHttp: boolean;
  /** Networks beside the public ones. @throws Error when one cannot be read. */
  allowCidrs: readonly string[];
}

/** Throws for a webhook that no worker would call, as far as its URL tells; names are looked up by workers, at connect. */
export type WebhookPolicy = (webhook: string | undefined, place?: WebhookPlace) => void;

/** What names the URL, and where: a job, unless it is said. */
export interface WebhookPlace {
  what: string;
  pointer: string;
}

/** What a job's `webhook` may be. The policy throws Problem invalid_request or webhooks_not_configured. */
export function createWebhookPolicy({ isConfigured, allowHttp, allowCidrs }: WebhookPolicyOptions): WebhookPolicy {
  const allowed = parseNetworks(allowCidrs);
  return (webhook, place = { what: 'The job', pointer: '/webhook' }) => {
    const refused = (detail: string) => invalidRequest(place.what, [{ pointer: place.pointer, detail }]);
    if (webhook === undefined) return;
    if (!isConfigured) {
      throw new Problem(
        'webhooks_not_configured',
        'Set ONQUEUE_WEBHOOK_SECRET on the API and the workers to use webhooks.',
        { errors: [{ pointer: place.pointer, detail: 'webhooks are not configured on this server' }] },
      );
    }
    const url = new URL(webhook);
    if (url.protocol !== 'https:' && !allowHttp) {
      throw refused('webhooks go to https: URLs only (ONQUEUE_WEBHOOK_ALLOW_HTTP)');
    }
    if (url.username !== '' || url.password !== '') {
      throw refused('a webhook URL carries no user name or password: verify the signature instead');
    }
    const address = literalAddress(url);
    if (address !== undefined && !isInNetworks(address, allowed) && !isPublicAddress(address)) {
      throw refused(`webhooks do not go to ${address}, which is no public address (ONQUEUE_WEBHOOK_ALLOW_CIDRS)`);
    }
  };
}

/** What receivers of webhooks need, without the rest of the platform: `@onqueue/shared/webhooks`. */
export { type WebhookRefusal, WebhookVerificationError } from './standard-webhooks.ts';
export {
  type ReplayCache,
  type VerifiedWebhook,
  WebhookVerifier,
  type WebhookVerifierOptions,
} from './webhook-verifier.ts';

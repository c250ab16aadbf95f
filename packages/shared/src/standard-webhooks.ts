import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { signAsymmetric, verifyAsymmetric } from './webhook-key-pair.ts';

/** The signing key. A KeyObject and no string: logged or serialised by accident, it does not show its bytes. */
export type WebhookSecret = KeyObject;

/** What is signed: one attempt to deliver one event. */
export interface WebhookMessage {
  /** The event's id; the same on every attempt. */
  id: string;
  /** Unix seconds of this attempt; a receiver refuses old ones, so that a captured request cannot be replayed later. */
  timestampS: number;
  /** The raw body, as it goes over the wire. */
  body: string | Uint8Array;
  secret: WebhookSecret;
}

/** What signs: each of them makes a signature of its own, so that receivers can go from one to the next. */
export interface WebhookKeys {
  secrets: readonly WebhookSecret[];
  /** ed25519; for receivers that should not be able to sign. */
  privateKeys?: readonly KeyObject[];
}

export interface WebhookHeaders {
  'webhook-id': string;
  'webhook-timestamp': string;
  'webhook-signature': string;
}

export interface ReceivedWebhook {
  /** As a server hands them over; names in any case. */
  headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The raw body, before any JSON parser. */
  body: string | Uint8Array;
  /** Any of them may have signed: old and new stand side by side while a secret is rotated. */
  secrets: readonly WebhookSecret[];
  /** Those of ed25519, beside or in place of the secrets. */
  publicKeys?: readonly KeyObject[];
  /** Unix seconds. */
  nowS: number;
  /** How far the sender's clock and the network may be off. Default 300, as the specification suggests. */
  toleranceS?: number;
}

export type WebhookRefusal =
  | 'missing_header'
  | 'malformed_timestamp'
  | 'timestamp_too_old'
  | 'timestamp_too_new'
  | 'no_matching_signature'
  /** Good, and seen before (WebhookVerifier). */
  | 'replayed';

export class WebhookVerificationError extends Error {
  override readonly name = 'WebhookVerificationError';
  readonly reason: WebhookRefusal;

  constructor(reason: WebhookRefusal) {
    super(`the webhook was refused: ${reason.replaceAll('_', ' ')}`);
    this.reason = reason;
  }
}

/** A new secret of 32 random bytes, as text: `whsec_` and base64. */
export function generateWebhookSecret(): string {
  return PREFIX + randomBytes(32).toString('base64');
}

/**
 * Reads `whsec_` + base64 of 24-64 bytes (https://github.com/standard-webhooks/standard-webhooks, "Signature scheme").
 * @throws Error that says what is wrong and never quotes the secret.
 */
export function parseWebhookSecret(text: string): WebhookSecret {
  if (!text.startsWith(PREFIX)) throw new Error(`a webhook secret starts with ${PREFIX}`);
  const encoded = text.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64');
  // Node skips what is no base64 instead of refusing it; a typing error would make another, weaker secret.
  if (unpadded(bytes.toString('base64')) !== unpadded(encoded)) {
    throw new Error(`a webhook secret is ${PREFIX} followed by base64`);
  }
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) {
    throw new Error(`a webhook secret holds ${MIN_BYTES}-${MAX_BYTES} bytes, this one ${bytes.length}`);
  }
  return createSecretKey(bytes);
}

/** `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. */
export function signWebhook({ id, timestampS, body, secret }: WebhookMessage): string {
  const digest = createHmac('sha256', secret).update(`${id}.${timestampS}.`).update(body).digest('base64');
  return `v1,${digest}`;
}

/** One signature a key, separated by blanks: `v1` of secrets, `v1a` of private keys. */
export function webhookHeaders(
  message: Omit<WebhookMessage, 'secret'>,
  { secrets, privateKeys = [] }: WebhookKeys,
): WebhookHeaders {
  const signatures = [
    ...secrets.map((secret) => signWebhook({ ...message, secret })),
    ...privateKeys.map((privateKey) => signAsymmetric(message, privateKey)),
  ];
  return {
    'webhook-id': message.id,
    'webhook-timestamp': String(message.timestampS),
    'webhook-signature': signatures.join(' '),
  };
}

/**
 * Accepts when one signature of the header's space-separated list was made with one of the keys; the comparison
 * takes the same time wherever they differ.
 * @throws WebhookVerificationError with the reason.
 */
export function verifyWebhook(received: ReceivedWebhook): void {
  const { headers, body, secrets, publicKeys = [], nowS, toleranceS = 300 } = received;
  const id = single(headers, 'webhook-id');
  const timestamp = single(headers, 'webhook-timestamp');
  const signatures = single(headers, 'webhook-signature').split(' ');
  if (!/^\d{1,12}$/.test(timestamp)) throw new WebhookVerificationError('malformed_timestamp');
  const timestampS = Number(timestamp);
  if (timestampS < nowS - toleranceS) throw new WebhookVerificationError('timestamp_too_old');
  if (timestampS > nowS + toleranceS) throw new WebhookVerificationError('timestamp_too_new');
  for (const secret of secrets) {
    const expected = signWebhook({ id, timestampS, body, secret });
    if (signatures.some((signature) => equal(signature, expected))) return;
  }
  const message = { id, timestampS, body };
  // A verification costs far more than an HMAC, and the header is a stranger's: only so many are tried.
  const asymmetric = signatures.filter((signature) => signature.startsWith('v1a,')).slice(0, MAX_SIGNATURES);
  for (const publicKey of publicKeys) {
    if (asymmetric.some((signature) => verifyAsymmetric(message, signature, publicKey))) return;
  }
  throw new WebhookVerificationError('no_matching_signature');
}

const MAX_SIGNATURES = 10;
const PREFIX = 'whsec_';
const MIN_BYTES = 24;
const MAX_BYTES = 64;

const unpadded = (base64: string) => base64.replace(/=+$/, '');

function single(headers: ReceivedWebhook['headers'], name: string): string {
  const values = Object.entries(headers).flatMap(([key, value]) => (key.toLowerCase() === name ? (value ?? []) : []));
  const [value] = values;
  if (value === undefined || value === '' || values.length > 1) throw new WebhookVerificationError('missing_header');
  return value;
}

/** Compares the texts and not what they decode to: the last base64 digit of a digest has two bits that decode to nothing. */
function equal(actual: string, expected: string): boolean {
  const [a, b] = [Buffer.from(actual), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

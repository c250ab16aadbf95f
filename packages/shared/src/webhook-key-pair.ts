import {
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';

/** What is signed; standard-webhooks.ts has the meaning of its fields. */
interface SignedMessage {
  id: string;
  timestampS: number;
  body: string | Uint8Array;
}

/** A new key that pairs are derived from, as text: `whsk_` and the base64 of 32 random bytes. */
export function generateSigningKey(): string {
  return PRIVATE + randomBytes(SEED_BYTES).toString('base64');
}

/**
 * Reads `whsk_` and the base64 of 32 bytes (a seed) or 64 (a seed and its public key, as other tools write it).
 * @throws Error that says what is wrong and never quotes the key.
 */
export function parseSigningKey(text: string): Buffer {
  const bytes = decode(text, PRIVATE, 'a webhook signing key');
  if (bytes.length !== SEED_BYTES && bytes.length !== 2 * SEED_BYTES) {
    throw new Error(`a webhook signing key holds ${SEED_BYTES} or ${2 * SEED_BYTES} bytes, this one ${bytes.length}`);
  }
  return bytes.subarray(0, SEED_BYTES);
}

/**
 * The private key of one receiver (ed25519). Each has one of its own: an event that was signed for one receiver, and that it sends
 * on to another, is no event of that one.
 */
export function deriveSigningKey(seed: Uint8Array, receiver: string): KeyObject {
  const derived = hkdfSync('sha256', seed, 'onqueue webhook v1a', receiver, SEED_BYTES);
  return createPrivateKey({ key: Buffer.concat([PKCS8, Buffer.from(derived)]), format: 'der', type: 'pkcs8' });
}

/** As whom the webhooks that a tenant's jobs name are signed for; an endpoint is a receiver under its id. */
export function tenantReceiver(tenant: string): string {
  return `tenant ${tenant}`;
}

/** `whpk_` and the base64 of the 32 bytes, as Standard Webhooks write it. */
export function publicKeyText(privateKey: KeyObject): string {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return PUBLIC + der.subarray(SPKI.length).toString('base64');
}

/** @throws Error that says what is wrong. */
export function parsePublicKey(text: string): KeyObject {
  const bytes = decode(text, PUBLIC, 'a webhook public key');
  if (bytes.length !== SEED_BYTES) throw new Error(`a webhook public key holds ${SEED_BYTES} bytes`);
  return createPublicKey({ key: Buffer.concat([SPKI, bytes]), format: 'der', type: 'spki' });
}

/** `v1a,` and the base64 of the ed25519 signature over `id.timestamp.body`. */
export function signAsymmetric(message: SignedMessage, privateKey: KeyObject): string {
  return `v1a,${sign(null, contentOf(message), privateKey).toString('base64')}`;
}

export function verifyAsymmetric(message: SignedMessage, signature: string, publicKey: KeyObject): boolean {
  const text = signature.slice('v1a,'.length);
  const bytes = Buffer.from(text, 'base64');
  // One way to write a signature: the last digit of base64 has bits that decode to nothing.
  const [sent, canonical] = [Buffer.from(text), Buffer.from(bytes.toString('base64'))];
  if (bytes.length !== 64 || sent.length !== canonical.length || !timingSafeEqual(sent, canonical)) return false;
  return verify(null, contentOf(message), publicKey, bytes);
}

const PRIVATE = 'whsk_';
const PUBLIC = 'whpk_';
const SEED_BYTES = 32;
/** What stands before the bytes of an ed25519 key in DER (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

function contentOf({ id, timestampS, body }: SignedMessage): Buffer {
  return Buffer.concat([Buffer.from(`${id}.${timestampS}.`), Buffer.from(body)]);
}

function decode(text: string, prefix: string, what: string): Buffer {
  if (!text.startsWith(prefix)) throw new Error(`${what} starts with ${prefix}`);
  const encoded = text.slice(prefix.length);
  const bytes = Buffer.from(encoded, 'base64');
  const unpadded = (base64: string) => base64.replace(/=+$/, '');
  if (unpadded(bytes.toString('base64')) !== unpadded(encoded)) throw new Error(`${what} is ${prefix} and base64`);
  return bytes;
}

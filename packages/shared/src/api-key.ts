import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { tenantId } from './tenant.ts';

/** What a key may do. None includes another. */
export const apiKeyScope = z.enum(['read', 'write', 'admin', 'metrics']);
export type ApiKeyScope = z.infer<typeof apiKeyScope>;
export const API_KEY_SCOPES = apiKeyScope.options;

/** Where a key is used, for people: part of its text, and of nothing else. */
export const apiKeyEnv = z.string().regex(/^[a-z0-9]{1,12}$/, '1-12 of a-z and 0-9, such as live or test');

/** A token bucket: how fast rows may come with a key, and how many at once. */
export const apiKeyLimits = z.strictObject({
  rows_per_s: z.number().min(0.001).max(1_000_000).optional().describe('Rows a second, in the long run.'),
  burst_rows: z
    .number()
    .int()
    .min(1)
    .max(100_000_000)
    .optional()
    .describe('Rows that may come at once; those of one second when left out.'),
});
export type ApiKeyLimits = z.infer<typeof apiKeyLimits>;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** A key as it is stored: of its secrets only their hashes. A rotation adds one, and ends those before it after an overlap. */
export const apiKey = z.object({
  schema_version: z.literal(1),
  id: z.string(),
  tenant: tenantId,
  name: z.string(),
  env: apiKeyEnv,
  scopes: z.array(apiKeyScope),
  limits: apiKeyLimits,
  /** Of the whole text of the key, the newest first. */
  secrets: z.array(z.object({ sha256, created_ms: z.number().int(), expires_ms: z.number().int().optional() })),
  expires_ms: z.number().int().optional(),
  revoked_ms: z.number().int().optional(),
  created_ms: z.number().int(),
  updated_ms: z.number().int(),
});
export type ApiKey = z.infer<typeof apiKey>;

/** 80 bits: ids are no secrets, they must only never meet. */
const ID_BYTES = 10;
const SECRET_BYTES = 32;
/** Characters of 256 bits in base 62. */
const SECRET_LENGTH = 43;
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID = /^[0-9a-f]{20}$/;
const TEXT = /^oq_[a-z0-9]{1,12}_([0-9a-f]{20})_[0-9A-Za-z]{43}$/;

export function newApiKeyId(): string {
  return randomBytes(ID_BYTES).toString('hex');
}

export function isApiKeyId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value);
}

/** `oq_<env>_<id>_<secret>`; the secret has 256 random bits. Letters and digits alone, so that a double click selects it. */
export function newApiKeyText({ env, id }: Pick<ApiKey, 'env' | 'id'>): string {
  let rest = BigInt(`0x${randomBytes(SECRET_BYTES).toString('hex')}`);
  let secret = '';
  while (secret.length < SECRET_LENGTH) {
    secret = DIGITS.charAt(Number(rest % 62n)) + secret;
    rest /= 62n;
  }
  return `oq_${env}_${id}_${secret}`;
}

/** The id that a key is looked up by; undefined for what is no key. */
export function apiKeyIdOf(text: string): string | undefined {
  return TEXT.exec(text)?.[1];
}

export function apiKeyHash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** How a key stands at a time. */
export type ApiKeyStanding = 'valid' | 'wrong' | 'revoked' | 'expired';

/** All secrets are compared, each in constant time. Only who has the secret is told what is wrong with the key. */
export function apiKeyStanding(key: ApiKey, text: string, nowMs: number): ApiKeyStanding {
  const hash = createHash('sha256').update(text).digest();
  const matching = key.secrets.filter((secret) => timingSafeEqual(Buffer.from(secret.sha256, 'hex'), hash));
  const [found] = matching;
  if (!found) return 'wrong';
  if (key.revoked_ms !== undefined) return 'revoked';
  const expiresMs = Math.min(key.expires_ms ?? Number.POSITIVE_INFINITY, found.expires_ms ?? Number.POSITIVE_INFINITY);
  return expiresMs <= nowMs ? 'expired' : 'valid';
}

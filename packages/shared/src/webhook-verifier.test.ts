import { expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { generateWebhookSecret, parseWebhookSecret, verifyWebhook, webhookHeaders } from './standard-webhooks.ts';
import {
  deriveSigningKey,
  generateSigningKey,
  parsePublicKey,
  parseSigningKey,
  publicKeyText,
} from './webhook-key-pair.ts';
import { WebhookVerifier } from './webhook-verifier.ts';

const secret = generateWebhookSecret();
const seed = parseSigningKey(generateSigningKey());
const privateKey = deriveSigningKey(seed, 'ep_1');
const publicKey = publicKeyText(privateKey);
const body = '{"type":"job.succeeded","timestamp":"2026-11-22T03:25:57.732Z","data":{"id":"job_1"}}';
const nowS = 1_795_317_957;
const now = () => nowS;
const message = { id: 'evt_1', timestampS: nowS, body };
const signed = () => webhookHeaders(message, { secrets: [parseWebhookSecret(secret)], privateKeys: [privateKey] });

/** Reproducible, so that a failure can be looked into. */
function randomNumbers(state: number): () => number {
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test('secret and public key verify for themselves', async () => {
  for (const keys of [{ secrets: [secret] }, { publicKeys: [publicKey] }]) {
    const event = await new WebhookVerifier({ ...keys, now }).verify({ ...signed() }, body);
    expect(event).toMatchObject({ id: 'evt_1', type: 'job.succeeded', data: { id: 'job_1' } });
  }
});

test('the standardwebhooks package accepts a header that has v1a beside v1', () => {
  const headers = webhookHeaders(
    { ...message, timestampS: Math.floor(Date.now() / 1000) },
    { secrets: [parseWebhookSecret(secret)], privateKeys: [privateKey] },
  );
  expect(new Webhook(secret).verify(body, { ...headers })).toMatchObject({ type: 'job.succeeded' });
});

test('of 10,000 mutated bodies, ids, timestamps and signatures none is accepted', () => {
  const random = randomNumbers(42);
  const pick = (length: number) => Math.floor(random() * length);
  const mutate = (text: string) => {
    const at = pick(text.length);
    const put = String.fromCharCode(33 + pick(94));
    if (random() < 0.2) return text.slice(0, at) + text.slice(at + 1);
    if (random() < 0.25) return text.slice(0, at) + put + text.slice(at);
    return text.slice(0, at) + put + text.slice(at + 1);
  };
  const original = { body, ...signed() };
  const parts = Object.keys(original) as (keyof typeof original)[];
  const keys = { secrets: [parseWebhookSecret(secret)], publicKeys: [parsePublicKey(publicKey)] };
  let tried = 0;
  let accepted = 0;
  while (tried < 10_000) {
    const mutated = { ...original };
    const part = parts[pick(parts.length)] as keyof typeof original;
    if (part === 'webhook-signature') mutated[part] = original[part].split(' ').map(mutate).join(' ');
    else mutated[part] = mutate(original[part]);
    if (part !== 'webhook-signature' && mutated[part] === original[part]) continue;
    const signatures = original['webhook-signature'].split(' ');
    if (
      mutated['webhook-signature'].split(' ').some((one) => signatures.includes(one)) &&
      part === 'webhook-signature'
    ) {
      continue; // One of the two is whole: that is a good header.
    }
    tried += 1;
    const { body: received, ...headers } = mutated;
    try {
      verifyWebhook({ ...keys, headers, body: received, nowS });
      accepted += 1;
    } catch {
      // Refused, as it should be.
    }
  }
  expect({ tried, accepted }).toEqual({ tried: 10_000, accepted: 0 });
});

test('a key pair is its receiver’s: what is signed for one is refused by another', async () => {
  const other = publicKeyText(deriveSigningKey(seed, 'ep_2'));
  const verifier = new WebhookVerifier({ publicKeys: [other], now });
  await expect(verifier.verify({ ...signed() }, body)).rejects.toMatchObject({ reason: 'no_matching_signature' });
});

test('an event comes once, also with another timestamp', async () => {
  const verifier = new WebhookVerifier({ secrets: [secret], now });
  await verifier.verify({ ...signed() }, body);
  const later = webhookHeaders({ ...message, timestampS: nowS + 5 }, { secrets: [parseWebhookSecret(secret)] });
  await expect(verifier.verify({ ...later }, body)).rejects.toMatchObject({ reason: 'replayed' });
});

test('a replay cache of your own is asked', async () => {
  const asked: [string, number][] = [];
  const replayCache = {
    add: async (id: string, ttlS: number) => {
      asked.push([id, ttlS]);
      return true;
    },
  };
  await new WebhookVerifier({ secrets: [secret], now, replayCache }).verify({ ...signed() }, body);
  expect(asked).toEqual([['evt_1', 600]]);
});

test('five minutes are the tolerance', async () => {
  for (const [offset, reason] of [
    [301, 'timestamp_too_old'],
    [-301, 'timestamp_too_new'],
  ] as const) {
    const verifier = new WebhookVerifier({ secrets: [secret], now: () => nowS + offset });
    await expect(verifier.verify({ ...signed() }, body)).rejects.toMatchObject({ reason });
  }
  await new WebhookVerifier({ secrets: [secret], now: () => nowS + 300 }).verify({ ...signed() }, body);
});

test('keys that are none are refused, and never quoted', () => {
  expect(() => new WebhookVerifier({})).toThrow('needs a secret or a public key');
  expect(() => parseSigningKey('whsec_AAAA')).toThrow('starts with whsk_');
  expect(() => parseSigningKey('whsk_AAAA')).toThrow('32 or 64 bytes, this one 3');
  expect(() => parseSigningKey('whsk_!')).toThrow('whsk_ and base64');
  expect(() => parsePublicKey('whpk_AAAA')).toThrow('32 bytes');
  expect(parseSigningKey(`whsk_${Buffer.alloc(64, 1).toString('base64')}`)).toHaveLength(32);
});

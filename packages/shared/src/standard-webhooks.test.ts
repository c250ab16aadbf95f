import { expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import {
  generateWebhookSecret,
  parseWebhookSecret,
  type ReceivedWebhook,
  signWebhook,
  verifyWebhook,
  type WebhookRefusal,
  WebhookVerificationError,
  webhookHeaders,
} from './standard-webhooks.ts';

const text = generateWebhookSecret();
const secret = parseWebhookSecret(text);
const body = '{"type":"job.succeeded","data":{"word":"größer"}}';
const nowS = Math.floor(Date.now() / 1000);
const message = { id: 'evt_1', timestampS: nowS, body, secret };
const signed = () => ({ ...webhookHeaders(message, { secrets: [secret] }) }) as Record<string, string>;

function refusal(received: Partial<ReceivedWebhook>): WebhookRefusal | 'accepted' {
  try {
    verifyWebhook({ headers: signed(), body, secrets: [secret], nowS, ...received });
    return 'accepted';
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error.reason;
    throw error;
  }
}

test('a signature of ours is accepted by the standardwebhooks package', () => {
  expect(new Webhook(text).verify(body, signed())).toEqual(JSON.parse(body));
});

test('a signature of the standardwebhooks package is accepted by us', () => {
  const signature = new Webhook(text).sign('evt_1', new Date(nowS * 1000), body);
  expect(signature).toBe(signWebhook(message));
  expect(refusal({ headers: { ...signed(), 'webhook-signature': signature } })).toBe('accepted');
});

test('text and bytes of the same body have the same signature', () => {
  expect(signWebhook({ ...message, body: Buffer.from(body) })).toBe(signWebhook(message));
});

test('header names may come in any case', () => {
  const headers = Object.fromEntries(Object.entries(signed()).map(([name, value]) => [name.toUpperCase(), value]));
  expect(refusal({ headers })).toBe('accepted');
});

test('one good signature in the list is enough', () => {
  const list = `v1a,AAAA v1,short ${signed()['webhook-signature']}`;
  expect(refusal({ headers: { ...signed(), 'webhook-signature': list } })).toBe('accepted');
});

test('while a secret is rotated both are accepted', () => {
  const next = parseWebhookSecret(generateWebhookSecret());
  expect(refusal({ secrets: [next, secret] })).toBe('accepted');
  expect(refusal({ secrets: [next] })).toBe('no_matching_signature');
  expect(refusal({ secrets: [] })).toBe('no_matching_signature');
});

test('a changed body, id or timestamp is refused', () => {
  expect(refusal({ body: `${body} ` })).toBe('no_matching_signature');
  expect(refusal({ headers: { ...signed(), 'webhook-id': 'evt_2' } })).toBe('no_matching_signature');
  expect(refusal({ headers: { ...signed(), 'webhook-timestamp': String(nowS + 1) } })).toBe('no_matching_signature');
});

test('a signature with any one character changed is refused', () => {
  const signature = signWebhook(message);
  for (let i = 0; i < signature.length; i++) {
    const changed = signature.slice(0, i) + (signature[i] === 'A' ? 'B' : 'A') + signature.slice(i + 1);
    expect(refusal({ headers: { ...signed(), 'webhook-signature': changed } })).toBe('no_matching_signature');
  }
});

test.each(['', 'v1', 'v1,', 'v1,AAAA', `v1,${'A'.repeat(500)}`, 'é'.repeat(30)])(
  'a signature of the wrong length is refused like any other: %p',
  (signature) => {
    const reason = signature === '' ? 'missing_header' : 'no_matching_signature';
    expect(refusal({ headers: { ...signed(), 'webhook-signature': signature } })).toBe(reason);
  },
);

test('a header that is missing or comes twice is refused', () => {
  for (const name of Object.keys(signed())) {
    expect(refusal({ headers: { ...signed(), [name]: undefined } })).toBe('missing_header');
    expect(refusal({ headers: { ...signed(), [name]: ['1', '2'] } })).toBe('missing_header');
  }
});

test('a timestamp outside the tolerance is refused, at its edge it is accepted', () => {
  expect(refusal({ nowS: nowS + 300 })).toBe('accepted');
  expect(refusal({ nowS: nowS - 300 })).toBe('accepted');
  expect(refusal({ nowS: nowS + 301 })).toBe('timestamp_too_old');
  expect(refusal({ nowS: nowS - 301 })).toBe('timestamp_too_new');
  expect(refusal({ nowS: nowS + 11, toleranceS: 10 })).toBe('timestamp_too_old');
  for (const timestamp of ['soon', '-5', '1e9', '1.5', ' 17']) {
    expect(refusal({ headers: { ...signed(), 'webhook-timestamp': timestamp } })).toBe('malformed_timestamp');
  }
});

test('secrets hold 24 to 64 bytes of base64 behind whsec_', () => {
  const of = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString('base64')}`;
  expect(parseWebhookSecret(of(24)).symmetricKeySize).toBe(24);
  expect(parseWebhookSecret(of(64)).symmetricKeySize).toBe(64);
  expect(parseWebhookSecret(of(25).replaceAll('=', '')).symmetricKeySize).toBe(25);
  expect(() => parseWebhookSecret(of(23))).toThrow('24-64 bytes, this one 23');
  expect(() => parseWebhookSecret(of(65))).toThrow('24-64 bytes, this one 65');
  expect(() => parseWebhookSecret('hunter2')).toThrow('starts with whsec_');
  expect(() => parseWebhookSecret(`${of(32)}!`)).toThrow('followed by base64');
  expect(generateWebhookSecret()).not.toBe(text);
});

test('a secret that is logged does not show its bytes', () => {
  expect(JSON.stringify({ secret })).not.toContain(text.slice(6));
});

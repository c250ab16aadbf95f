import { describe, expect, test } from '@jest/globals';
import {
  type ApiKey,
  apiKeyHash,
  apiKeyIdOf,
  apiKeyStanding,
  isApiKeyId,
  newApiKeyId,
  newApiKeyText,
} from './api-key.ts';

const id = newApiKeyId();
const text = newApiKeyText({ env: 'live', id });
const NOW = 1_000_000;

function keyWith(changes: Partial<ApiKey> = {}): ApiKey {
  return {
    schema_version: 1,
    id,
    tenant: 'default',
    name: '',
    env: 'live',
    scopes: ['read'],
    limits: {},
    secrets: [{ sha256: apiKeyHash(text), created_ms: 0 }],
    created_ms: 0,
    updated_ms: 0,
    ...changes,
  };
}

describe('a key', () => {
  test('names its environment and its id, and has 256 random bits', () => {
    expect(text).toMatch(/^oq_live_[0-9a-f]{20}_[0-9A-Za-z]{43}$/);
    expect([apiKeyIdOf(text), isApiKeyId(id)]).toEqual([id, true]);
    expect(newApiKeyText({ env: 'live', id })).not.toBe(text);
  });

  test.each([
    '',
    'oq',
    text.slice(0, -1),
    `${text}0`,
    text.replace('oq_', 'ok_'),
    ` ${text}`,
    `${text}\n`,
    text.replace('_live', ''),
  ])('is none when it is %j', (other) => {
    expect(apiKeyIdOf(other)).toBeUndefined();
  });
});

describe('a key stands', () => {
  test.each<[string, Partial<ApiKey>, string, string]>([
    ['valid', {}, text, 'valid'],
    ['wrong for another secret', {}, newApiKeyText({ env: 'live', id }), 'wrong'],
    ['wrong for another environment', {}, text.replace('live', 'test'), 'wrong'],
    ['valid until it expires', { expires_ms: NOW + 1 }, text, 'valid'],
    ['expired from then on', { expires_ms: NOW }, text, 'expired'],
    ['revoked', { revoked_ms: 1 }, text, 'revoked'],
    ['wrong without a secret', { secrets: [] }, text, 'wrong'],
  ])('%s', (_, changes, sent, standing) => {
    expect(apiKeyStanding(keyWith(changes), sent, NOW)).toBe(standing);
  });

  test('revoked only to who has the secret', () => {
    expect(apiKeyStanding(keyWith({ revoked_ms: 1 }), newApiKeyText({ env: 'live', id }), NOW)).toBe('wrong');
  });

  test('valid with the secret before, as long as the two overlap', () => {
    const next = newApiKeyText({ env: 'live', id });
    const secrets = [
      { sha256: apiKeyHash(next), created_ms: 2 },
      { sha256: apiKeyHash(text), created_ms: 1, expires_ms: NOW },
    ];
    const key = keyWith({ secrets });
    expect([apiKeyStanding(key, text, NOW - 1), apiKeyStanding(key, text, NOW)]).toEqual(['valid', 'expired']);
    expect(apiKeyStanding(key, next, NOW)).toBe('valid');
  });
});

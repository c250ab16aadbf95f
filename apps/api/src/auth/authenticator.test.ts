import { expect, test } from '@jest/globals';
import {
  type ApiKey,
  apiKeyHash,
  type KnownKey,
  newApiKeyId,
  newApiKeyText,
  Problem,
  TENANT_DEFAULTS,
} from '@onqueue/shared';
import { Authenticator } from './authenticator.ts';

const id = newApiKeyId();
const text = newApiKeyText({ env: 'live', id });
const bearer = `Bearer ${text}`;

function scene() {
  let atMs = 0;
  const key: ApiKey = {
    schema_version: 1,
    id,
    tenant: 'acme',
    name: '',
    env: 'live',
    scopes: ['read'],
    limits: {},
    secrets: [{ sha256: apiKeyHash(text), created_ms: 0 }],
    created_ms: 0,
    updated_ms: 0,
  };
  const tenant: KnownKey['tenant'] = {
    schema_version: 1,
    id: 'acme',
    name: 'acme',
    ...TENANT_DEFAULTS,
    created_ms: 0,
    updated_ms: 0,
  };
  const world = { key: key as ApiKey | null, reads: 0, uses: 0, isAway: false };
  const authenticator = new Authenticator({
    ttlMs: 5000,
    clock: { now: () => atMs },
    keys: {
      find: async () => {
        world.reads += 1;
        if (world.isAway) throw new Problem('storage_unavailable', 'away');
        return world.key && { key: world.key, tenant, lastUsedMs: undefined, nowMs: 1_000_000 + atMs };
      },
      noteUse: async () => {
        world.uses += 1;
      },
    },
  });
  return { world, authenticator, pass: (ms: number) => (atMs += ms), key };
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error: Problem) => `${error.code} ${error.challenge ?? ''}`.trim(),
  );

test('says whose key it is, and reads it once for many requests at a time and after each other', async () => {
  const { world, authenticator } = scene();
  const callers = await Promise.all([authenticator.identify(bearer), authenticator.identify(`bearer ${text}`)]);
  expect(callers[1]).toMatchObject({ tenant: 'acme', keyId: id, scopes: ['read'] });
  await authenticator.identify(bearer);
  expect(world.reads).toBe(1);
});

test('a key that was revoked elsewhere ends to work when its time in memory is over', async () => {
  const { world, authenticator, pass, key } = scene();
  await authenticator.identify(bearer);
  world.key = { ...key, revoked_ms: 1 };
  pass(4999);
  expect(await codeOf(authenticator.identify(bearer))).toBe('ok');
  pass(1);
  expect(await codeOf(authenticator.identify(bearer))).toBe('unauthorized Bearer error="invalid_token"');
});

test('one that was revoked here ends at once', async () => {
  const { world, authenticator, key } = scene();
  await authenticator.identify(bearer);
  world.key = { ...key, revoked_ms: 1 };
  authenticator.forget(id);
  expect(await codeOf(authenticator.identify(bearer))).toMatch(/^unauthorized/);
});

test('expires while it is in memory', async () => {
  const { world, authenticator, pass, key } = scene();
  world.key = { ...key, expires_ms: 1_000_100 };
  expect(await codeOf(authenticator.identify(bearer))).toBe('ok');
  pass(100);
  expect(await codeOf(authenticator.identify(bearer))).toMatch(/^unauthorized/);
  expect(world.reads).toBe(1);
});

test('nobody gets in whom the store does not know, also when it is away', async () => {
  const { world, authenticator, pass } = scene();
  await authenticator.identify(bearer);
  world.isAway = true;
  pass(5000);
  expect(await codeOf(authenticator.identify(bearer))).toBe('storage_unavailable');
  world.isAway = false;
  world.key = null;
  expect(await codeOf(authenticator.identify(bearer))).toMatch(/^unauthorized/);
});

test.each([undefined, '', 'Bearer', 'Basic dXNlcjpwYXNz', `Bearer ${text.slice(0, -1)}`, `Bearer ${text} x`, text])(
  'without a read: %j',
  async (header) => {
    const { world, authenticator } = scene();
    expect(await codeOf(authenticator.identify(header))).toMatch(/^unauthorized Bearer/);
    expect(world.reads).toBe(0);
  },
);

test('notes at most once a minute that a key was used', async () => {
  const { world, authenticator, pass } = scene();
  for (let i = 0; i < 5; i += 1) await authenticator.identify(bearer);
  expect(world.uses).toBe(1);
  // Read anew meanwhile, as another process may have noted a use.
  pass(61_000);
  await authenticator.identify(bearer);
  expect(world.uses).toBe(2);
});

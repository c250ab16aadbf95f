import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import { type AuditActor, auditFaults } from '@onqueue/shared';
import {
  AUDIT_FUNCTIONS,
  closeRedis,
  connectRedis,
  RedisAuditLog,
  type RedisConnection,
  RedisKeys,
  RedisTenants,
  whenReady,
} from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';

/** Every line hangs on the one before, so that what was changed behind our back is seen. */

let server: RedisServer;
let redis: RedisConnection;
const keys = new RedisKeys('oq');
const by: AuditActor = { requestId: 'req_1', keyId: 'key_1' };

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  await whenReady(redis);
});
afterAll(async () => {
  if (redis) await closeRedis(redis);
  await server?.stop();
});
beforeEach(() => redis.flushall());

const tenantsWith = (maxAuditLines = 100) =>
  new RedisTenants({ redis, keys, partitions: 1, maxTenants: 100, maxAuditLines });
const settings = { name: 'x', weight: 1, quotas: {}, storage: {}, retention_s: null };
const audit = () => new RedisAuditLog({ redis, keys, partitions: 1 });

async function chain() {
  const { lines, before, head } = await audit().page('fleet', 1000);
  return { lines, before, head, faults: auditFaults(lines, before, head) };
}

async function writeLines(count: number, maxAuditLines?: number): Promise<void> {
  const tenants = tenantsWith(maxAuditLines);
  for (let i = 0; i < count; i += 1) await tenants.create(`t${i}`, settings, by);
}

test('SHA-256 in Lua is that of everybody else, around every border of its blocks', async () => {
  const script = `${AUDIT_FUNCTIONS}\nlocal answers = {}\nfor i, text in ipairs(ARGV) do answers[i] = sha256hex(text) end\nreturn answers`;
  const texts = Array.from({ length: 200 }, (_, length) => randomBytes(length)).concat(
    randomBytes(5000),
    randomBytes(70_000),
  );
  const answers = await redis.eval(script, 0, ...texts);
  expect(answers).toEqual(texts.map((text) => createHash('sha256').update(text).digest('hex')));
});

test('a line says who did what, and when', async () => {
  await writeLines(1);
  const { lines, faults } = await chain();
  expect(faults).toEqual([]);
  expect(JSON.parse(lines[0]?.text ?? '')).toEqual({
    seq: 1,
    at_ms: expect.any(Number),
    action: 'tenant.created',
    tenant: 't0',
    request_id: 'req_1',
    key: 'key_1',
    previous: '0'.repeat(64),
  });
});

test('pages follow each other, and their lines are one chain', async () => {
  await writeLines(5);
  const first = await audit().page('fleet', 3);
  const second = await audit().page('fleet', 3, first.next);
  expect([first.lines.length, second.lines.length, second.next]).toEqual([3, 2, undefined]);
  expect(auditFaults([...first.lines, ...second.lines], first.before, second.head)).toEqual([]);
});

test('of more lines than may be the oldest go, and the rest is a chain', async () => {
  await writeLines(7, 3);
  const { lines, before, faults } = await chain();
  expect([lines.map(({ text }) => JSON.parse(text).seq), before.seq, faults]).toEqual([[5, 6, 7], 4, []]);
});

test('a limit that was lowered is reached, without a fault', async () => {
  await writeLines(6);
  const tenants = tenantsWith(2);
  for (let i = 0; i < 6; i += 1) await tenants.create(`late${i}`, settings, by);
  const { lines, faults } = await chain();
  expect([lines.length, faults]).toEqual([2, []]);
});

test('lines of a version that knew no chain are counted, and no fault', async () => {
  await redis.xadd(keys.fleetAudit, '*', 'action', 'job.deleted');
  await writeLines(2);
  expect(await audit().page('fleet', 10)).toMatchObject({ unchained: 1, lines: [{}, {}] });
  expect((await chain()).faults).toEqual([]);
});

describe('is seen when', () => {
  type Entry = [id: string, fields: string[]];
  /** Writes the whole log anew, as somebody would who has Redis and not our code. */
  async function rewrite(change: (entries: Entry[]) => Entry[]): Promise<void> {
    const entries = (await redis.xrange(keys.fleetAudit, '-', '+')) as Entry[];
    await redis.del(keys.fleetAudit);
    for (const [, fields] of change(entries)) await redis.xadd(keys.fleetAudit, '*', ...fields);
  }
  const rehash = (text: string) => ['text', text, 'hash', createHash('sha256').update(text).digest('hex')];

  test.each<[string, (entries: Entry[]) => Entry[]]>([
    ['nothing is', (entries) => entries],
    [
      'a line is changed',
      (entries) => entries.map(([id, f], i) => [id, i === 2 ? f.map((v) => v.replace('t2', 't9')) : f]),
    ],
    [
      'a line is changed, with its hash',
      (entries) => entries.map(([id, f], i) => [id, i === 2 ? rehash(String(f[1]).replace('t2', 't9')) : f]),
    ],
    [
      'the newest is changed, with its hash',
      (entries) => entries.map(([id, f], i) => [id, i === 4 ? rehash(String(f[1]).replace('t4', 't9')) : f]),
    ],
    ['the first is removed', (entries) => entries.slice(1)],
    ['one in the middle is removed', (entries) => entries.toSpliced(2, 1)],
    ['the newest is removed', (entries) => entries.slice(0, -1)],
    ['all are removed', () => []],
    ['two change places', ([a, b, c, ...rest]) => [a, c, b, ...rest] as Entry[]],
    ['one stands there twice', ([a, b, ...rest]) => [a, b, b, ...rest] as Entry[]],
    [
      'one is made up',
      (entries) => [...entries, ['', rehash(String(entries[4]?.[1][1]).replace('"seq":5', '"seq":6'))]],
    ],
    ['one is no JSON', (entries) => entries.map(([id, f], i) => [id, i === 1 ? rehash('?') : f])],
  ])('%s', async (what, change) => {
    await writeLines(5);
    await rewrite(change);
    const { faults } = await chain();
    expect(faults.length > 0).toBe(what !== 'nothing is');
  });
});

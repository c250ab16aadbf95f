import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import { type BlobKey, type BlobStore, BlobTooLargeError, readWhole } from '@onqueue/shared';
import { FileBlobStore, S3BlobStore } from '@onqueue/shared/blobs';
import { closeRedis, connectRedis, RedisBlobStore, type RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';
import { type S3Server, startS3Server } from './support/s3-server.ts';

/** What every blob store does, wherever it keeps its blobs. */

const MB = 1024 * 1024;

let redisServer: RedisServer;
let redis: RedisConnection;
let s3: S3Server;
let dir: string;
const stores = new Map<string, BlobStore>();

beforeAll(async () => {
  redisServer = await startPrivateRedis();
  redis = connectRedis(redisServer.url, { kind: 'worker' }, () => {});
  s3 = await startS3Server();
  Object.assign(process.env, s3.env);
  dir = await mkdtemp(join(tmpdir(), 'onqueue-blobs-'));
  stores.set('redis', new RedisBlobStore({ redis, keys: new RedisKeys('oq') }));
  stores.set('file', await FileBlobStore.open({ dir, isSynced: true }));
  stores.set(
    's3',
    await S3BlobStore.open({
      bucket: s3.bucket,
      prefix: 'onqueue/',
      region: 'us-east-1',
      endpoint: s3.endpoint,
      isPathStyle: true,
      timeoutMs: 10_000,
    }),
  );
});

afterAll(async () => {
  for (const store of stores.values()) await store.close();
  for (const name of Object.keys(s3?.env ?? {})) delete process.env[name];
  await s3?.stop();
  if (redis) await closeRedis(redis);
  await redisServer?.stop();
  if (dir) await rm(dir, { recursive: true, force: true });
});

async function* chunked(content: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

async function* failing(content: Buffer): AsyncGenerator<Uint8Array> {
  yield content;
  throw new Error('the client has gone');
}

const limit = { maxBytes: 64 * MB };

describe.each(['redis', 'file', 's3'])('the %s store', (kind) => {
  const storeOf = () => stores.get(kind) as BlobStore;
  const keyOf = (name: string, tenant = 'default'): BlobKey => ({ tenant, name });
  const put = (key: BlobKey, content: Buffer, chunk = 100_000) => storeOf().put(key, chunked(content, chunk), limit);
  const read = async (key: BlobKey) => {
    const content = await storeOf().get(key);
    return content && readWhole(content, 64 * MB);
  };

  test.each([
    ['empty', 0],
    ['small', 5],
    ['a chunk', 256 * 1024],
    ['a chunk and a byte', 256 * 1024 + 1],
    ['one part', 8 * MB],
    ['some parts', 17 * MB + 3],
  ])('gives back what it was given, and its digest: %s', async (_, bytes) => {
    const content = randomBytes(bytes);
    const key = keyOf(`size-${bytes}`);
    expect(await put(key, content)).toEqual({
      bytes,
      sha256: createHash('sha256').update(content).digest('hex'),
    });
    expect(await storeOf().stat(key)).toEqual({ bytes });
    expect((await read(key))?.equals(content)).toBe(true);
    await storeOf().delete(key);
    expect([await read(key), await storeOf().stat(key)]).toEqual([null, null]);
  });

  test('knows nothing of what is not there, and deletes it without a word', async () => {
    expect([await read(keyOf('none')), await storeOf().stat(keyOf('none'))]).toEqual([null, null]);
    await storeOf().delete(keyOf('none'));
  });

  test('keeps tenants apart', async () => {
    await put(keyOf('same', 'a'), Buffer.from('of a'));
    await put(keyOf('same', 'b'), Buffer.from('of b'));
    await storeOf().delete(keyOf('same', 'a'));
    expect([await read(keyOf('same', 'a')), String(await read(keyOf('same', 'b')))]).toEqual([null, 'of b']);
  });

  test('a blob that is too large is refused, and one of that name stays as it was', async () => {
    const key = keyOf('bounded');
    await put(key, Buffer.from('before'));
    for (const size of [7, 3 * MB]) {
      const content = chunked(randomBytes(size), 1000);
      await expect(storeOf().put(key, content, { maxBytes: 6 })).rejects.toThrow(BlobTooLargeError);
    }
    expect(String(await read(key))).toBe('before');
    expect(await storeOf().put(key, chunked(Buffer.from('sixsix'), 2), { maxBytes: 6 })).toMatchObject({ bytes: 6 });
  });

  test.each([10, 20 * MB])('content that breaks off after %i bytes leaves nothing to be read', async (bytes) => {
    const key = keyOf(`broken-${bytes}`);
    await expect(storeOf().put(key, failing(randomBytes(bytes)), limit)).rejects.toThrow('the client has gone');
    expect([await read(key), await storeOf().stat(key)]).toEqual([null, null]);
  });

  test('a second put replaces the first', async () => {
    const key = keyOf('twice');
    await put(key, randomBytes(600_000));
    await put(key, Buffer.from('short'));
    expect(String(await read(key))).toBe('short');
  });

  test('writes of one name at once leave one of them whole', async () => {
    const key = keyOf('race');
    const contents = Array.from({ length: 8 }, () => randomBytes(700_000));
    await Promise.all(contents.map((content) => put(key, content)));
    const kept = await read(key);
    expect(contents.filter((content) => kept?.equals(content))).toHaveLength(1);
  });

  test.each(['', '.', '..', '../up', 'a/b', 'a b', '.hidden', 'x'.repeat(201), 'nul\0'])(
    'the name %j is refused',
    async (name) => {
      await expect(put(keyOf(name), Buffer.from('x'))).rejects.toThrow('unusable name');
      await expect(read(keyOf('x', name))).rejects.toThrow('unusable name');
    },
  );
});

test('the file store leaves no unfinished files, and clears old ones away when it opens', async () => {
  const unfinished = join(dir, '.unfinished');
  expect(await readdir(unfinished)).toEqual([]);
  await writeFile(join(unfinished, 'young'), '');
  await FileBlobStore.open({ dir, isSynced: false });
  expect(await readdir(unfinished)).toEqual(['young']);
});

test('the Redis store leaves nothing but its blobs', async () => {
  const keys = (await redis.keys('oq:{blob:*')) as string[];
  expect(keys.filter((key) => /:[0-9a-f-]{36}$/.test(key))).toEqual([]);
  expect(await Promise.all(keys.map((key) => redis.ttl(key)))).toEqual(keys.map(() => -1));
});

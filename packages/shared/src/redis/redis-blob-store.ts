import { randomUUID } from 'node:crypto';
import { assertBlobKey, type BlobDigest, type BlobKey, BlobMeter, type BlobStore, inChunks } from '../blob-store.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

export interface RedisBlobStoreOptions {
  redis: RedisConnection;
  keys: RedisKeys;
}

/** A command moves so much; more would hold Redis up for the others. */
const CHUNK_BYTES = 256 * 1024;
/** What a process that died has left behind goes so soon. */
const UNFINISHED_MS = 3_600_000;

/** KEYS 1 unfinished, 2 blob. ARGV 1 bytes. Puts a blob that is written into its place. */
const FINISH_LUA = `
redis.call('HSET', KEYS[1], 'bytes', ARGV[1])
redis.call('RENAME', KEYS[1], KEYS[2])
return redis.call('PERSIST', KEYS[2])
`;

/**
 * Blobs in Redis, each a hash of numbered chunks: as durable and as shared as the records are, and as dear: they count towards
 * `maxmemory`. Written under another key of the same slot, and renamed.
 */
export class RedisBlobStore implements BlobStore {
  readonly #redis: Connection;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: RedisBlobStoreOptions) {
    redis.defineCommand('onqueueFinishBlob', { lua: FINISH_LUA, numberOfKeys: 2 });
    this.#redis = redis as Connection;
    this.#keys = keys;
  }

  async put(key: BlobKey, content: AsyncIterable<Uint8Array>, { maxBytes }: { maxBytes: number }): Promise<BlobDigest> {
    const blob = this.#keyOf(key);
    const unfinished = `${blob}:${randomUUID()}`;
    const meter = new BlobMeter();
    let chunks = 0;
    try {
      for await (const chunk of inChunks(meter.pass(content, maxBytes), CHUNK_BYTES)) {
        await this.#redis.hset(unfinished, String(chunks), chunk);
        if (chunks === 0) await this.#redis.pexpire(unfinished, UNFINISHED_MS);
        chunks += 1;
      }
      const digest = meter.digest();
      await this.#redis.onqueueFinishBlob(unfinished, blob, digest.bytes);
      return digest;
    } catch (error) {
      // When Redis is away it expires.
      await this.#redis.unlink(unfinished).catch(() => {});
      throw error;
    }
  }

  async get(key: BlobKey): Promise<AsyncIterable<Uint8Array> | null> {
    const blob = this.#keyOf(key);
    const bytes = await this.#redis.hget(blob, 'bytes');
    return bytes === null ? null : this.#read(blob, Number(bytes));
  }

  async stat(key: BlobKey): Promise<{ bytes: number } | null> {
    const bytes = await this.#redis.hget(this.#keyOf(key), 'bytes');
    return bytes === null ? null : { bytes: Number(bytes) };
  }

  async delete(key: BlobKey): Promise<void> {
    await this.#redis.unlink(this.#keyOf(key));
  }

  async close(): Promise<void> {
    // The connection is its owner's.
  }

  async *#read(blob: string, bytes: number): AsyncGenerator<Uint8Array> {
    for (let chunk = 0; chunk * CHUNK_BYTES < bytes; chunk++) {
      const content = await this.#redis.hgetBuffer(blob, String(chunk));
      if (content === null) throw new Error('A blob was deleted while it was read.');
      yield content;
    }
  }

  #keyOf(key: BlobKey): string {
    assertBlobKey(key);
    return this.#keys.blob(key.tenant, key.name);
  }
}

type Connection = RedisConnection & Record<'onqueueFinishBlob', FinishCommand>;
type FinishCommand = (unfinished: string, blob: string, bytes: number) => Promise<number>;

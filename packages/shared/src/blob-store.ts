import { createHash } from 'node:crypto';
import { z } from 'zod';

/** Names a blob: whose it is, and which. */
export interface BlobKey {
  tenant: string;
  /** Letters, digits, `.`, `_` and `-`; begins with a letter or digit. */
  name: string;
}

export interface BlobDigest {
  bytes: number;
  /** Lower-case hex. */
  sha256: string;
}

/**
 * Bytes that are too many for a record: rows, results, files. It knows no expiry: when a blob is to go stands in the register
 * ({@link BlobRegister}), which changes in the same script as the record that the blob belongs to.
 */
export interface BlobStore {
  /**
   * Whole or not at all: a blob that is being written cannot be read, and one of that name stays until the new one is there.
   * @throws BlobTooLargeError when more than `maxBytes` come; whatever the content throws.
   */
  put(key: BlobKey, content: AsyncIterable<Uint8Array>, options: { maxBytes: number }): Promise<BlobDigest>;
  /** Null when there is none. */
  get(key: BlobKey): Promise<AsyncIterable<Uint8Array> | null>;
  stat(key: BlobKey): Promise<{ bytes: number } | null>;
  /** Nothing happens when there is none. */
  delete(key: BlobKey): Promise<void>;
  close(): Promise<void>;
}

/** When blobs are to go. A partition's register is changed by the scripts that change its records. */
export interface BlobRegister {
  /** To be called before a blob is written: whatever happens then, it goes after `ttlMs`, unless a record takes it over. */
  intend(partition: number, key: BlobKey, ttlMs: number): Promise<void>;
  /** Up to `limit` whose time has come. */
  due(partition: number, limit: number): Promise<BlobKey[]>;
  /** They are deleted. One whose time was put off meanwhile stays registered. */
  forget(partition: number, keys: readonly BlobKey[]): Promise<void>;
  /** It goes with the next sweep. */
  release(partition: number, key: BlobKey): Promise<void>;
}

/** How a record names a blob that is in its place. */
export const blobRef = z.object({
  blob: z.string(),
  bytes: z.number().int(),
  sha256: z.string(),
  rows: z.number().int(),
});
export type BlobRef = z.infer<typeof blobRef>;

export class BlobTooLargeError extends Error {
  override readonly name = 'BlobTooLargeError';
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    super(`the blob has more than ${maxBytes} bytes`);
    this.maxBytes = maxBytes;
  }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** @throws Error for a name that no store could keep. */
export function assertBlobKey({ tenant, name }: BlobKey): void {
  if (!NAME.test(name) || !NAME.test(tenant)) throw new Error('A blob has an unusable name. This is a bug.');
}

/** Counts and hashes what passes. */
export class BlobMeter {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  /** @throws BlobTooLargeError at the first byte that is too many. */
  async *pass(content: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      this.#bytes += chunk.byteLength;
      if (this.#bytes > maxBytes) throw new BlobTooLargeError(maxBytes);
      this.#hash.update(chunk);
      if (chunk.byteLength > 0) yield chunk;
    }
  }

  /** When all has passed; once. */
  digest(): BlobDigest {
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }
}

/** The same bytes in chunks of one size; the last one may be smaller. */
export async function* inChunks(content: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of content) {
    waiting.push(chunk);
    bytes += chunk.byteLength;
    if (bytes < size) continue;
    const whole = Buffer.concat(waiting);
    let at = 0;
    for (; whole.length - at >= size; at += size) yield whole.subarray(at, at + size);
    waiting = at < whole.length ? [whole.subarray(at)] : [];
    bytes = whole.length - at;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}

/** All bytes at once. @throws BlobTooLargeError */
export async function readWhole(content: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new BlobTooLargeError(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

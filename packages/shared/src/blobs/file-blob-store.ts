import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assertBlobKey, type BlobDigest, type BlobKey, BlobMeter, type BlobStore } from '../blob-store.ts';

export interface FileBlobStoreOptions {
  /** Shared by every API and worker; made when it is missing. */
  dir: string;
  /** Whether a blob is on the disk, and not only in its cache, when `put` resolves. */
  isSynced: boolean;
}

/** What a process that died has left behind is cleared away when it is so old. */
const STALE_MS = 3_600_000;

/**
 * Blobs as files: `<dir>/<tenant>/<two hex digits>/<name>`, so that no folder grows too long. A file is written beside its
 * place and renamed into it.
 */
export class FileBlobStore implements BlobStore {
  readonly #options: FileBlobStoreOptions;
  readonly #unfinished: string;

  private constructor(options: FileBlobStoreOptions) {
    this.#options = options;
    this.#unfinished = join(options.dir, '.unfinished');
  }

  /** @throws Error when the folder cannot be written. */
  static async open(options: FileBlobStoreOptions): Promise<FileBlobStore> {
    const store = new FileBlobStore(options);
    await mkdir(store.#unfinished, { recursive: true });
    await store.#clearStale();
    return store;
  }

  async put(key: BlobKey, content: AsyncIterable<Uint8Array>, { maxBytes }: { maxBytes: number }): Promise<BlobDigest> {
    const path = this.#pathOf(key);
    const unfinished = join(this.#unfinished, randomUUID());
    const meter = new BlobMeter();
    try {
      const file = await open(unfinished, 'wx');
      try {
        for await (const chunk of meter.pass(content, maxBytes)) await writeAll(file, chunk);
        if (this.#options.isSynced) await file.sync();
      } finally {
        await file.close();
      }
      await mkdir(dirname(path), { recursive: true });
      await rename(unfinished, path);
      if (this.#options.isSynced) await syncFolder(dirname(path));
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
    return meter.digest();
  }

  async get(key: BlobKey): Promise<AsyncIterable<Uint8Array> | null> {
    const file = await open(this.#pathOf(key), 'r').catch(nullIfMissing);
    if (file === null) return null;
    return createReadStream('', { fd: file, autoClose: true });
  }

  async stat(key: BlobKey): Promise<{ bytes: number } | null> {
    const found = await stat(this.#pathOf(key)).catch(nullIfMissing);
    return found && { bytes: found.size };
  }

  async delete(key: BlobKey): Promise<void> {
    await rm(this.#pathOf(key), { force: true });
  }

  async close(): Promise<void> {
    // Nothing is kept open between two calls.
  }

  #pathOf(key: BlobKey): string {
    assertBlobKey(key);
    const shard = createHash('sha256').update(key.name).digest('hex').slice(0, 2);
    return join(this.#options.dir, key.tenant, shard, key.name);
  }

  async #clearStale(): Promise<void> {
    for (const name of await readdir(this.#unfinished)) {
      const path = join(this.#unfinished, name);
      const found = await stat(path).catch(nullIfMissing);
      if (found && Date.now() - found.mtimeMs > STALE_MS) await rm(path, { force: true });
    }
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.byteLength; ) {
    const { bytesWritten } = await file.write(chunk, at);
    at += bytesWritten;
  }
}

/** A rename is on the disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function nullIfMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

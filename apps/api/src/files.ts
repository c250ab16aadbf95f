import { createHash, randomBytes } from 'node:crypto';
import {
  type BlobDigest,
  type BlobRegister,
  type BlobStore,
  BlobTooLargeError,
  blobStoreProblem,
  type FileIndex,
  type FileLimits,
  type FilePart,
  type FileRecord,
  isFileId,
  newFileId,
  Problem,
  readWhole,
  type TenantStorage,
} from '@onqueue/shared';

export interface FilesOptions {
  index: FileIndex;
  blobs: BlobStore;
  register: BlobRegister;
  limits: FileLimits & {
    maxFileBytes: number;
    maxFilePartBytes: number;
    maxFileParts: number;
    fileTtlS: number;
  };
  /** What an operator says of the tenant goes before what is configured for everybody. */
  storageOf?: (tenant: string) => Promise<TenantStorage>;
}

type Content = AsyncIterable<Uint8Array>;

/** Files are nobody's job; their blobs are registered in the first partition. */
const PARTITION = 0;
/** A blob outlives its record, so that nobody is cut off who began to read it. */
const GRACE_MS = 600_000;

/**
 * A tenant's files. The content is written first and the record then, so that a file that is there can be read. What a crash leaves
 * between the two goes when the file would have.
 */
export class Files {
  readonly #options: FilesOptions;

  constructor(options: FilesOptions) {
    this.#options = options;
  }

  get limits(): FilesOptions['limits'] {
    return this.#options.limits;
  }

  async #limitsOf(tenant: string): Promise<FileLimits> {
    const { maxFiles, maxFilesBytes } = this.limits;
    const storage = (await this.#options.storageOf?.(tenant)) ?? {};
    return { maxFiles: storage.max_files ?? maxFiles, maxFilesBytes: storage.max_files_bytes ?? maxFilesBytes };
  }

  /** Stores a whole file as it comes. @throws Problem digest_mismatch, payload_too_large, files_full */
  async upload(tenant: string, content: Content, type: string, sha256: string | undefined): Promise<FileRecord> {
    const file = this.#newFile(type, 'ready');
    const digest = await this.#put(tenant, file.id, content, this.limits.maxFileBytes, sha256);
    const ready = { ...file, ...digest };
    if (!(await this.#options.index.create(tenant, ready, await this.#limitsOf(tenant)))) {
      await this.#discard(tenant, file.id);
      throw filesFull();
    }
    return ready;
  }

  /** Begins an upload in parts. @throws Problem files_full */
  async begin(tenant: string, type: string): Promise<FileRecord> {
    const file = this.#newFile(type, 'uploading');
    if (!(await this.#options.index.create(tenant, file, await this.#limitsOf(tenant)))) throw filesFull();
    return file;
  }

  /** A part may be sent again, as long as the upload is not complete. */
  async putPart(
    tenant: string,
    id: string,
    number: number,
    content: Content,
    sha256: string | undefined,
  ): Promise<FilePart> {
    const { index, limits } = this.#options;
    await this.#uploading(tenant, id);
    const blob = `${id}.part-${number}-${randomBytes(6).toString('hex')}`;
    const part = { number, blob, ...(await this.#put(tenant, blob, content, limits.maxFilePartBytes, sha256)) };
    const before = (await this.parts(tenant, id)).find((other) => other.number === number);
    if (await index.putPart(tenant, id, part, await this.#limitsOf(tenant))) {
      if (before) await this.#discard(tenant, before.blob);
      return part;
    }
    await this.#discard(tenant, blob);
    await this.#uploading(tenant, id);
    throw filesFull();
  }

  parts(tenant: string, id: string): Promise<FilePart[]> {
    return this.#options.index.parts(tenant, id);
  }

  /** Puts the parts together. Of a file that is complete already it says what it is. */
  async complete(tenant: string, id: string, sha256: string | undefined): Promise<FileRecord> {
    const { index, limits } = this.#options;
    const file = await this.read(tenant, id);
    if (file.status === 'ready') {
      if (sha256 !== undefined && sha256 !== file.sha256) throw mismatch();
      return file;
    }
    const parts = await this.parts(tenant, id);
    const gap = parts.findIndex(({ number }, at) => number !== at + 1);
    if (parts.length === 0 || gap >= 0) {
      throw new Problem('upload_incomplete', `Part ${gap + 1 || 1} has not arrived.`);
    }
    const digest = await this.#put(tenant, id, this.#joined(tenant, parts), limits.maxFileBytes, sha256);
    const ready: FileRecord = { ...file, status: 'ready', ...digest };
    await index.complete(tenant, ready);
    await Promise.all(parts.map(({ blob }) => this.#discard(tenant, blob)));
    return ready;
  }

  /** @throws Problem file_not_found */
  async read(tenant: string, id: string): Promise<FileRecord> {
    const file = isFileId(id) ? await this.#options.index.read(tenant, id) : null;
    if (file === null) throw fileNotFound();
    return file;
  }

  /** The content of a file that is ready. @throws Problem file_not_found */
  async content(tenant: string, id: string): Promise<{ file: FileRecord; content: Content }> {
    const file = await this.read(tenant, id);
    const content =
      file.status === 'ready' ? await this.#guard(() => this.#options.blobs.get({ tenant, name: id })) : null;
    if (content === null) throw fileNotFound();
    return { file, content };
  }

  /** All of it, for a job. @throws Problem file_not_found, BlobTooLargeError */
  async bytes(tenant: string, id: string, maxBytes: number): Promise<Buffer> {
    const { file, content } = await this.content(tenant, id);
    if ((file.bytes ?? 0) > maxBytes) throw new BlobTooLargeError(maxBytes);
    const bytes = await this.#guard(() => readWhole(content, maxBytes));
    if (createHash('sha256').update(bytes).digest('hex') !== file.sha256) {
      throw new Problem('file_not_found', `The content of the file "${id}" is not what was uploaded. Upload it again.`);
    }
    return bytes;
  }

  async delete(tenant: string, id: string): Promise<void> {
    await this.read(tenant, id);
    const parts = await this.parts(tenant, id);
    await this.#options.index.delete(tenant, id);
    const names = [id, ...parts.map(({ blob }) => blob)];
    await Promise.all(names.map((name) => this.#discard(tenant, name)));
  }

  #newFile(contentType: string, status: FileRecord['status']): FileRecord {
    const nowMs = Date.now();
    return {
      id: newFileId(),
      status,
      content_type: contentType,
      created_ms: nowMs,
      expires_ms: nowMs + this.limits.fileTtlS * 1000,
    };
  }

  async #uploading(tenant: string, id: string): Promise<void> {
    const { status } = await this.read(tenant, id);
    if (status !== 'uploading') throw new Problem('upload_ended', 'The upload is complete.');
  }

  async #put(
    tenant: string,
    name: string,
    content: Content,
    maxBytes: number,
    sha256: string | undefined,
  ): Promise<BlobDigest> {
    const { blobs, register, limits } = this.#options;
    await register.intend(PARTITION, { tenant, name }, limits.fileTtlS * 1000 + GRACE_MS);
    try {
      const checked = sha256 === undefined ? content : matching(content, sha256);
      return await this.#guard(() => blobs.put({ tenant, name }, checked, { maxBytes }));
    } catch (error) {
      if (error instanceof BlobTooLargeError) {
        throw new Problem('payload_too_large', `The content has more than ${maxBytes} bytes.`);
      }
      throw error;
    }
  }

  async *#joined(tenant: string, parts: readonly FilePart[]): AsyncGenerator<Uint8Array> {
    for (const { number, blob } of parts) {
      const content = await this.#options.blobs.get({ tenant, name: blob });
      if (content === null) throw new Problem('upload_incomplete', `Part ${number} is not there any more.`);
      yield* content;
    }
  }

  /** At once, and if that fails with the next sweep. */
  async #discard(tenant: string, name: string): Promise<void> {
    const { blobs, register } = this.#options;
    await register.release(PARTITION, { tenant, name });
    await blobs.delete({ tenant, name }).catch(() => {});
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // The client has gone, or has sent what cannot be read: no fault of the store.
      if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') {
        throw new Problem('malformed_http', 'The request broke off.', { cause: error });
      }
      throw blobStoreProblem(error);
    }
  }
}

/** Names no id: one of somebody else's and one that never was are answered alike, to the byte. */
function fileNotFound(): Problem {
  return new Problem('file_not_found', 'There is no such file, or it is past its expires_at.');
}

function filesFull(): Problem {
  return new Problem('files_full', 'There are as many files, or as many bytes in them, as there may be.', {
    retryAfterS: 60,
  });
}

function mismatch(): Problem {
  return new Problem('digest_mismatch', 'The SHA-256 of the content is another than the one that was sent with it.');
}

/** Passes the content on, and fails at its end when it is not what it should be: the store then keeps none of it. */
async function* matching(content: Content, sha256: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of content) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') !== sha256) throw mismatch();
}

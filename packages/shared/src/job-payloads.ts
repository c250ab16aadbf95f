import { createHash, randomBytes } from 'node:crypto';
import {
  type BlobKey,
  type BlobRef,
  type BlobRegister,
  type BlobStore,
  BlobTooLargeError,
  readWhole,
} from './blob-store.ts';
import { Problem } from './problems.ts';

export interface JobPayloadsOptions {
  blobs: BlobStore;
  register: BlobRegister;
  /** Inputs and results that are larger, as JSON, go into the blob store. */
  inlineInputBytes: number;
  inlineResultBytes: number;
  /** For one read or write, from its beginning to its end. */
  timeoutMs: number;
}

/** Where a job's blobs are named after it. */
export interface PayloadOwner {
  tenant: string;
  partition: number;
  id: string;
}

/** A blob that no record took over goes after this: its process died between the two, or was refused. */
const ORPHAN_MS = 3_600_000;

/**
 * Rows and results that are too many for a record. They are written before the record that names them, under a name that
 * nobody else uses; the script that stores the record takes the blob over in the same step, and the one that ends the run
 * says when it goes. So no crash leaves a record without its rows, and what a crash leaves without a record is collected.
 */
export class JobPayloads {
  readonly #options: JobPayloadsOptions;

  constructor(options: JobPayloadsOptions) {
    this.#options = options;
  }

  /** Whether inputs, as JSON, are more than a record takes. */
  isLargeInput(json: string): boolean {
    const { inlineInputBytes } = this.#options;
    return json.length > inlineInputBytes || Buffer.byteLength(json) > inlineInputBytes;
  }

  /** Undefined when they are small enough for the record. @throws Problem storage_unavailable, storage_full */
  async writeInputs(owner: PayloadOwner, json: string, rows: number): Promise<BlobRef | undefined> {
    if (!this.isLargeInput(json)) return undefined;
    return this.#write(owner, `${owner.id}.${randomBytes(6).toString('hex')}.inputs`, json, rows);
  }

  /** The same for results; one attempt writes them once, but may have to do so again. */
  async writeResults(
    owner: PayloadOwner & { run: number; attempt: number },
    json: string,
    rows: number,
  ): Promise<BlobRef | undefined> {
    if (Buffer.byteLength(json) <= this.#options.inlineResultBytes) return undefined;
    return this.#write(owner, `${owner.id}.${owner.run}.${owner.attempt}.results`, json, rows);
  }

  /** Undefined when it is gone, or is not what was written. @throws Problem storage_unavailable */
  async read(tenant: string, { blob: name, bytes, sha256 }: BlobRef): Promise<unknown> {
    const content = await this.#guard(async () => {
      const stream = await this.#options.blobs.get({ tenant, name });
      return stream && readWhole(stream, bytes).catch(nullIfTooLarge);
    });
    if (!content || content.length !== bytes) return undefined;
    if (createHash('sha256').update(content).digest('hex') !== sha256) return undefined;
    return JSON.parse(content.toString());
  }

  /** Of one that no record names: nobody waits for the register to be looked at. Never rejects. */
  async discard({ tenant }: PayloadOwner, { blob: name }: BlobRef): Promise<void> {
    try {
      await this.#options.blobs.delete({ tenant, name });
    } catch {
      // It is registered: whoever sweeps next deletes it.
    }
  }

  async #write({ tenant, partition }: PayloadOwner, name: string, json: string, rows: number): Promise<BlobRef> {
    const key: BlobKey = { tenant, name };
    const content = Buffer.from(json);
    await this.#options.register.intend(partition, key, ORPHAN_MS);
    const digest = await this.#guard(() =>
      this.#options.blobs.put(key, once(content), { maxBytes: Math.max(1, content.length) }),
    );
    return { blob: name, ...digest, rows };
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const isLate = new Promise<never>((_, reject) => {
      const { timeoutMs } = this.#options;
      timer = setTimeout(() => reject(new Error(`the blob store did not answer in ${timeoutMs} ms`)), timeoutMs);
    });
    try {
      return await Promise.race([work(), isLate]);
    } catch (error) {
      throw blobStoreProblem(error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What the API answers when the blob store fails. Its error may quote where it is, so that it is for the log only. */
export function blobStoreProblem(error: unknown): unknown {
  if (error instanceof Problem || error instanceof BlobTooLargeError) return error;
  const { message, code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || /^OOM\b/.test(message)) {
    return new Problem('storage_full', 'The blob store has no room left. Nothing was stored.', {
      retryAfterS: 10,
      cause: error,
    });
  }
  return new Problem('storage_unavailable', 'The blob store cannot be used now. Try again shortly.', {
    retryAfterS: 2,
    cause: error,
    needsOperator: true,
  });
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

function nullIfTooLarge(error: unknown): null {
  if (error instanceof BlobTooLargeError) return null;
  throw error;
}

import type { CompletedPart, GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';
import { assertBlobKey, type BlobDigest, type BlobKey, BlobMeter, type BlobStore, inChunks } from '../blob-store.ts';

type S3 = typeof import('@aws-sdk/client-s3');

export interface S3BlobStoreOptions {
  bucket: string;
  /** Before every key; ends with `/` unless it is empty. */
  prefix: string;
  region: string;
  /** Of a server that is not Amazon's. */
  endpoint?: string | undefined;
  /** `<endpoint>/<bucket>/<key>` in place of `<bucket>.<endpoint>/<key>`. */
  isPathStyle: boolean;
  /** For one request. */
  timeoutMs: number;
}

/** Larger blobs are written part by part; S3 takes no part below 5 MiB but the last. Also what is held in memory of one. */
const PART_BYTES = 8 * 1024 * 1024;

/**
 * Blobs in a bucket. The SDK is an optional peer dependency, and loaded only here; it finds credentials by itself, where AWS'
 * tools keep them (`AWS_ACCESS_KEY_ID`…, roles of the machine).
 */
export class S3BlobStore implements BlobStore {
  readonly #s3: S3;
  readonly #client: S3Client;
  readonly #options: S3BlobStoreOptions;

  private constructor(s3: S3, options: S3BlobStoreOptions) {
    const { region, endpoint, isPathStyle, timeoutMs } = options;
    this.#s3 = s3;
    this.#options = options;
    this.#client = new s3.S3Client({
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
      forcePathStyle: isPathStyle,
      requestHandler: { requestTimeout: timeoutMs, connectionTimeout: timeoutMs },
      // Ours are of the whole blob, and checked when it is read; not every server knows those of the SDK.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  /** @throws Error when the SDK is not installed. */
  static async open(options: S3BlobStoreOptions): Promise<S3BlobStore> {
    const s3 = await import('@aws-sdk/client-s3').catch((cause: unknown) => {
      throw new Error('ONQUEUE_BLOB_STORE=s3 needs a package: npm install @aws-sdk/client-s3', { cause });
    });
    return new S3BlobStore(s3, options);
  }

  async put(key: BlobKey, content: AsyncIterable<Uint8Array>, { maxBytes }: { maxBytes: number }): Promise<BlobDigest> {
    const target = this.#targetOf(key);
    const meter = new BlobMeter();
    const parts = inChunks(meter.pass(content, maxBytes), PART_BYTES);
    const first = (await parts.next()).value ?? Buffer.alloc(0);
    const second = first.length < PART_BYTES ? undefined : (await parts.next()).value;
    if (second) await this.#putParts(target, first, second, parts);
    else await this.#client.send(new this.#s3.PutObjectCommand({ ...target, Body: first }));
    return meter.digest();
  }

  async get(key: BlobKey): Promise<AsyncIterable<Uint8Array> | null> {
    const found = await this.#client
      .send(new this.#s3.GetObjectCommand(this.#targetOf(key)))
      .catch((error: unknown) => this.#nullIfMissing<GetObjectCommandOutput>(error));
    return found && (found.Body as unknown as AsyncIterable<Uint8Array>);
  }

  async stat(key: BlobKey): Promise<{ bytes: number } | null> {
    try {
      const { ContentLength = 0 } = await this.#client.send(new this.#s3.HeadObjectCommand(this.#targetOf(key)));
      return { bytes: ContentLength };
    } catch (error) {
      return this.#nullIfMissing(error);
    }
  }

  async delete(key: BlobKey): Promise<void> {
    await this.#client.send(new this.#s3.DeleteObjectCommand(this.#targetOf(key)));
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #putParts(target: Target, first: Buffer, second: Buffer, rest: AsyncIterable<Buffer>): Promise<void> {
    const {
      CreateMultipartUploadCommand,
      UploadPartCommand,
      CompleteMultipartUploadCommand,
      AbortMultipartUploadCommand,
    } = this.#s3;
    const { UploadId } = await this.#client.send(new CreateMultipartUploadCommand(target));
    const upload = { ...target, UploadId };
    const written: CompletedPart[] = [];
    const write = async (Body: Buffer) => {
      const PartNumber = written.length + 1;
      const { ETag } = await this.#client.send(new UploadPartCommand({ ...upload, PartNumber, Body }));
      written.push({ PartNumber, ETag });
    };
    try {
      await write(first);
      await write(second);
      for await (const part of rest) await write(part);
      await this.#client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: written } }));
    } catch (error) {
      // A courtesy: what went wrong says more than a failure of this; the bucket's lifecycle takes what is left.
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
      throw error;
    }
  }

  #targetOf(key: BlobKey): Target {
    assertBlobKey(key);
    return { Bucket: this.#options.bucket, Key: `${this.#options.prefix}${key.tenant}/${key.name}` };
  }

  #nullIfMissing<T>(error: unknown): T | null {
    const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
    if (name === 'NoSuchKey' || name === 'NotFound' || $metadata?.httpStatusCode === 404) return null;
    throw error;
  }
}

interface Target {
  Bucket: string;
  Key: string;
}

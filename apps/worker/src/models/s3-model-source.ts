import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { canonicalSha256 } from '@onqueue/shared';
import type { GraphReader } from '../onnx/graph-outline.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import { POLICY_FILE } from './folder-model-source.ts';
import { readWholeVersion } from './model-repository.ts';
import { isHidden, type ListedVersion, type ModelSource, type RepositoryListing } from './model-source.ts';

type S3 = typeof import('@aws-sdk/client-s3');

export interface S3ModelSourceOptions {
  /** `s3://bucket/prefix`. */
  url: string;
  region: string;
  /** Of a server that is not Amazon's. */
  endpoint: string | undefined;
  /** `<endpoint>/<bucket>/<key>` in place of `<bucket>.<endpoint>/<key>`. */
  isPathStyle: boolean;
  /** For fetching one version. */
  timeoutMs: number;
  cache: ArtifactCache;
  /** For exports without a manifest. */
  readGraph: GraphReader;
}

interface StoredFile {
  key: string;
  /** Below the folder of its version. */
  path: string;
  etag: string;
  bytes: number;
}

/** Files of a version, at most: as in a folder. */
const MAX_FILES = 10_000;
const PARALLEL_FILES = 4;

/**
 * `<prefix>/<name>/<version>/…` in a bucket. The store's own tags say whether a file is another; a version is fetched once per machine,
 * into the cache, and is kept there when it is whole and its artifact has the SHA-256 of the manifest.
 *
 * The SDK is an optional peer dependency and loaded only here; it finds credentials by itself, where AWS' tools keep them.
 */
export class S3ModelSource implements ModelSource {
  readonly location: string;
  readonly #s3: S3;
  readonly #client: S3Client;
  readonly #options: S3ModelSourceOptions;
  readonly #bucket: string;
  /** Ends with `/`, unless it is empty. */
  readonly #prefix: string;
  #files = new Map<string, StoredFile[]>();

  private constructor(s3: S3, options: S3ModelSourceOptions) {
    const { region, endpoint, isPathStyle } = options;
    const { bucket, prefix } = parseS3Url(options.url);
    this.#s3 = s3;
    this.#options = options;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.location = `s3://${bucket}/${prefix}`;
    this.#client = new s3.S3Client({
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
      forcePathStyle: isPathStyle,
      // The manifest has one of the artifact; not every server knows those of the SDK.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  /** @throws Error when the SDK is not installed, or the URL is none. */
  static async open(options: S3ModelSourceOptions): Promise<S3ModelSource> {
    const s3 = await import('@aws-sdk/client-s3').catch((cause: unknown) => {
      throw new Error('ONQUEUE_MODELS_DIR=s3://… needs a package: npm install @aws-sdk/client-s3', { cause });
    });
    return new S3ModelSource(s3, options);
  }

  async list(): Promise<RepositoryListing> {
    const files = new Map<string, StoredFile[]>();
    const policies: StoredFile[] = [];
    let count = 0;
    for await (const { key, etag, bytes } of this.#objects()) {
      count += 1;
      const [name = '', version, ...rest] = key.slice(this.#prefix.length).split('/');
      const path = rest.join('/');
      if (isHidden(name) || version === undefined) continue;
      if (path === '') {
        if (version === POLICY_FILE) policies.push({ key, path: name, etag, bytes });
        continue;
      }
      if (isHidden(version)) continue;
      const id = `${name}/${version}`;
      const ofVersion = files.get(id) ?? [];
      if (ofVersion.length < MAX_FILES) files.set(id, [...ofVersion, { key, path, etag, bytes }]);
    }
    this.#files = files;
    const versions = [...files].map(([id, ofVersion]): ListedVersion => {
      const slash = id.indexOf('/');
      return { name: id.slice(0, slash), version: id.slice(slash + 1), fingerprint: canonicalSha256(ofVersion) };
    });
    return {
      versions: versions.sort(byNameAndVersion),
      policies: await this.#readPolicies(policies),
      isEmpty: count === 0,
    };
  }

  async fetch(listed: ListedVersion, { signal }: { signal: AbortSignal }): Promise<string> {
    const { name, version, fingerprint } = listed;
    const files = this.#files.get(`${name}/${version}`) ?? [];
    const { cache, timeoutMs, readGraph } = this.#options;
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    return cache.folderOf(
      { location: this.location, name, version, fingerprint },
      {
        signal: inTime,
        fill: async (folder) => {
          await this.#download(files, folder, inTime);
          const { error } = await readWholeVersion({ folder, name, version }, readGraph);
          if (error) throw new Error(error.message.replaceAll(folder, `${this.location}${name}/${version}`));
        },
      },
    );
  }

  async #download(files: readonly StoredFile[], folder: string, signal: AbortSignal): Promise<void> {
    const waiting = [...files];
    const work = async () => {
      for (let file = waiting.pop(); file; file = waiting.pop()) {
        const path = pathBelow(folder, file.path);
        await mkdir(dirname(path), { recursive: true });
        await pipeline(await this.#read(file, signal), createWriteStream(path, { flags: 'wx' }), { signal });
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_FILES }, work));
  }

  /** As it was when it was listed: one that was written anew meanwhile is for the next look. */
  async #read({ key, etag }: StoredFile, abortSignal?: AbortSignal): Promise<Readable> {
    const command = new this.#s3.GetObjectCommand({ Bucket: this.#bucket, Key: key, IfMatch: etag });
    const { Body } = await this.#client.send(command, abortSignal ? { abortSignal } : {});
    return Body as Readable;
  }

  async #readPolicies(files: readonly StoredFile[]): Promise<Map<string, string>> {
    const policies = new Map<string, string>();
    for (const file of files) {
      const chunks: Buffer[] = [];
      for await (const chunk of await this.#read(file)) chunks.push(chunk as Buffer);
      policies.set(file.path, Buffer.concat(chunks).toString('utf8'));
    }
    return policies;
  }

  async *#objects(): AsyncGenerator<{ key: string; etag: string; bytes: number }> {
    const pages = this.#s3.paginateListObjectsV2(
      { client: this.#client },
      { Bucket: this.#bucket, Prefix: this.#prefix },
    );
    for await (const { Contents = [] } of pages) {
      for (const { Key: key = '', ETag: etag = '', Size: bytes = 0 } of Contents) yield { key, etag, bytes };
    }
  }
}

function parseS3Url(url: string): { bucket: string; prefix: string } {
  const [, bucket = '', path = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)\/?(.*)$/.exec(url) ?? [];
  if (bucket === '') throw new Error(`ONQUEUE_MODELS_DIR: "${url}" is not s3://bucket/prefix`);
  return { bucket, prefix: path === '' ? '' : `${path.replace(/\/+$/, '')}/` };
}

/** Keys are anybody's: none is written outside the folder of its version. */
function pathBelow(folder: string, path: string): string {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\\'))) {
    throw new Error(`"${path}" is not a path below the folder of a version.`);
  }
  return join(folder, ...parts);
}

function byNameAndVersion(a: ListedVersion, b: ListedVersion): number {
  return a.name.localeCompare(b.name, 'en') || a.version.localeCompare(b.version, 'en', { numeric: true });
}

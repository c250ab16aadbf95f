import type { BlobStore } from '../blob-store.ts';
import { type Config, ConfigError } from '../config.ts';
import { RedisBlobStore, type RedisBlobStoreOptions } from '../redis/index.ts';
import { FileBlobStore } from './file-blob-store.ts';
import { S3BlobStore } from './s3-blob-store.ts';

type BlobConfig = Pick<
  Config,
  | 'blobStore'
  | 'blobDir'
  | 'blobSync'
  | 'blobTimeoutMs'
  | 's3Bucket'
  | 's3Prefix'
  | 's3Region'
  | 's3Endpoint'
  | 's3PathStyle'
>;

/** The blob store that is configured. @throws ConfigError when it is not configured whole or cannot be opened. */
export async function openBlobStore(config: BlobConfig, redis: RedisBlobStoreOptions): Promise<BlobStore> {
  switch (config.blobStore) {
    case 'redis':
      return new RedisBlobStore(redis);
    case 'file': {
      const dir = named(config.blobDir, 'ONQUEUE_BLOB_DIR', 'file');
      return FileBlobStore.open({ dir, isSynced: config.blobSync }).catch((cause: Error) => {
        throw new ConfigError(`ONQUEUE_BLOB_DIR: ${dir} cannot be used: ${cause.message}`, { cause });
      });
    }
    case 's3':
      return S3BlobStore.open({
        bucket: named(config.s3Bucket, 'ONQUEUE_S3_BUCKET', 's3'),
        prefix: config.s3Prefix,
        region: config.s3Region,
        endpoint: config.s3Endpoint,
        isPathStyle: config.s3PathStyle,
        timeoutMs: config.blobTimeoutMs,
      }).catch((cause: Error) => {
        throw cause instanceof ConfigError ? cause : new ConfigError(cause.message, { cause });
      });
  }
}

function named(value: string | undefined, variable: string, store: string): string {
  if (value !== undefined) return value;
  throw new ConfigError(`${variable}: must be set with ONQUEUE_BLOB_STORE=${store}`);
}

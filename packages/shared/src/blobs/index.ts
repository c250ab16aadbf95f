export * from './file-blob-store.ts';
export * from './open-blob-store.ts';
export * from './s3-blob-store.ts';

import { randomBytes } from 'node:crypto';
import { z } from 'zod';

/** A file that a tenant has uploaded, or is uploading part by part. */
export const fileRecord = z.object({
  id: z.string(),
  status: z.enum(['uploading', 'ready']),
  content_type: z.string(),
  created_ms: z.number(),
  expires_ms: z.number(),
  /** Of the whole file, when it is ready. */
  bytes: z.number().int().optional(),
  sha256: z.string().optional(),
});
export type FileRecord = z.infer<typeof fileRecord>;

/** As clients see it. */
export const filePart = z.object({ number: z.number().int(), bytes: z.number().int(), sha256: z.string() });
/** A part that is sent again has a blob of its own: until it is noted, the one before is as it was. */
export const storedFilePart = filePart.extend({ blob: z.string() });
export type FilePart = z.infer<typeof storedFilePart>;

export interface FileLimits {
  maxFiles: number;
  maxFilesBytes: number;
}

/** What is known of files; their content is in the blob store, under their id. */
export interface FileIndex {
  /** Null for an unknown id, a foreign tenant's and one that has expired. */
  read(tenant: string, id: string): Promise<FileRecord | null>;
  /** False when the tenant has as many files, or as many bytes, as it may. */
  create(tenant: string, file: FileRecord, limits: FileLimits): Promise<boolean>;
  /** Notes a part in place of the one of its number. False when that would be too many bytes, or the upload has ended. */
  putPart(tenant: string, id: string, part: FilePart, limits: FileLimits): Promise<boolean>;
  /** In the order of their numbers. */
  parts(tenant: string, id: string): Promise<FilePart[]>;
  /** The upload is a file now, and its parts are forgotten. */
  complete(tenant: string, file: FileRecord): Promise<void>;
  delete(tenant: string, id: string): Promise<void>;
}

const ID = /^file_[0-9a-f]{32}$/;

/** 128 random bits cannot be guessed. */
export function newFileId(): string {
  return `file_${randomBytes(16).toString('hex')}`;
}

export function isFileId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text);
}

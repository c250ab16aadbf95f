import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from './canonical-json.ts';

const WEEK_S = 7 * 24 * 3600;

/** `cache` in a manifest: answers are kept, and given again to equal rows of the same tenant. */
export const resultCachePolicy = z.strictObject({
  /** How long an answer is given again; up to a tenth less, so that answers of one moment do not all go at once. */
  ttl_s: z.number().int().min(1).max(WEEK_S),
  /** Rows that are kept of the version, the newest ones. */
  max_rows: z.number().int().min(1).max(1_000_000).default(10_000),
  /** An answer that is larger, as JSON, is not kept. */
  max_row_bytes: z
    .number()
    .int()
    .min(1)
    .max(256 * 1024)
    .default(16 * 1024),
  /** Whether a row that is being computed is waited for by equal ones, instead of being computed beside. */
  single_flight: z.boolean().default(true),
});
export type ResultCachePolicy = z.infer<typeof resultCachePolicy>;

/** What of it a descriptor tells. Loose: an API of an earlier version has to read it. */
export const publishedCache = z.looseObject({ ttl_s: z.number(), single_flight: z.boolean() });

/** What must be equal for an answer of before to be an answer of now. */
export interface ResultSource {
  artifact_sha256: string;
  preprocess_sha256: string;
  decision_policy_sha256: string;
}

/** Names a source: no answer of one is ever an answer of another. */
export function resultSource({ artifact_sha256, preprocess_sha256, decision_policy_sha256 }: ResultSource): string {
  return `${artifact_sha256} ${preprocess_sha256} ${decision_policy_sha256}`;
}

/**
 * Under which an answer to a row is kept. Rows are equal when their canonical JSON (RFC 8785) is. Of one tenant: what others
 * asked is not to be guessed from what is quick to come.
 */
export function resultKey(source: string, tenant: string, row: Record<string, unknown>): string {
  return createHash('sha256')
    .update(`${source}\n${tenant}\n${canonicalJson(row)}`)
    .digest('base64url');
}

/** Under which what is kept of a version says whose it is. */
export function sourceId(source: string): string {
  return createHash('sha256').update(source).digest('base64url').slice(0, 22);
}

/** Rows of a job that may be answered from the cache; what is beyond is computed, and kept for others. */
export const MAX_REUSED_ROWS = 1024;

/** A job with more rows waits for no other, and none waits for it. */
export const MAX_FLIGHT_ROWS = 64;

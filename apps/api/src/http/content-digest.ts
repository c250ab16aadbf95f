import { Problem } from '@onqueue/shared';
import type { Request } from 'express';

/** Of a structured dictionary (RFC 8941), the one member that we check. */
const SHA_256 = /(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):/;

/**
 * The SHA-256 of `Content-Digest`, or of `Repr-Digest`, which is the same without a content encoding (RFC 9530), as hex; undefined
 * when there is none. @throws Problem invalid_request for one that is no SHA-256.
 */
export function contentSha256(request: Request): string | undefined {
  const header = request.get('content-digest') ?? request.get('repr-digest');
  if (header === undefined) return undefined;
  const digest = Buffer.from(SHA_256.exec(header)?.[1] ?? '', 'base64');
  if (digest.length === 32) return digest.toString('hex');
  throw new Problem(
    'invalid_request',
    'Content-Digest has no sha-256; send it as sha-256=:<base64 of 32 bytes>:, or leave it out.',
  );
}

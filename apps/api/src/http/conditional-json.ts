import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';

/** Sends a body with its ETag, or 304 and nothing when the client has it already (RFC 9110). */
export function sendConditional(
  request: Request,
  response: Response,
  body: unknown,
  contentType = 'application/json',
): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 24)}"`;
  response.set({ ETag: etag, 'Cache-Control': 'private, no-cache' });
  if (isKnown(request.get('if-none-match'), etag)) {
    response.status(304).end();
    return;
  }
  response.type(contentType).send(text);
}

/** Express' own comparison gives way to `Cache-Control: no-cache`, which fetch() adds by itself to such requests. */
function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const known = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return known.includes(etag) || known.includes('*');
}

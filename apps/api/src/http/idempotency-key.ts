import { Problem } from '@onqueue/shared';
import type { Request } from 'express';

const MAX_CHARACTERS = 255;

/** The `Idempotency-Key` of a request, as it came; undefined when there is none. @throws Problem invalid_request */
export function idempotencyKey(request: Request): string | undefined {
  const key = request.get('idempotency-key');
  if (key === undefined) return undefined;
  if (key === '' || key.length > MAX_CHARACTERS) {
    throw new Problem(
      'invalid_request',
      `An Idempotency-Key has 1 to ${MAX_CHARACTERS} characters, a UUID for instance; this one has ${key.length}.`,
    );
  }
  return key;
}

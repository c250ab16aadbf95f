import { Problem } from '@onqueue/shared';
import type { Request } from 'express';

/** A query parameter that is on with `1` or `true`, off with `0`, `false` or without it. @throws Problem invalid_request */
export function flagParameter(request: Request, name: string): boolean {
  const value = request.query[name];
  if (value === undefined || value === '0' || value === 'false') return false;
  if (value === '1' || value === 'true') return true;
  throw new Problem('invalid_request', `\`${name}\` is 1 or 0, such as ?${name}=1.`, {
    errors: [{ pointer: `?${name}`, detail: '1 or 0' }],
  });
}

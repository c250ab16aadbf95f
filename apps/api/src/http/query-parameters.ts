import { Problem } from '@onqueue/shared';
import type { RequestHandler } from 'express';

/**
 * Refuses every parameter but these, as unknown fields of a body are refused: `?WAIT=5` would otherwise be answered at
 * once, and nobody told why.
 */
export function queryParameters(...allowed: string[]): RequestHandler {
  const remedy =
    allowed.length === 0 ? 'there are none here' : `there ${allowed.length === 1 ? 'is' : 'are'} ${allowed.join(', ')}`;
  return (request, _response, next) => {
    const unknown = Object.keys(request.query).find((name) => !allowed.includes(name));
    if (unknown !== undefined) {
      throw new Problem('invalid_request', `There is no query parameter "${unknown}"; ${remedy}.`, {
        errors: [{ pointer: `?${unknown}`, detail: `unknown parameter; ${remedy}` }],
      });
    }
    next();
  };
}

import { Problem, parseDurationS } from '@onqueue/shared';
import type { Request } from 'express';

const MIN_S = 1;
const MAX_S = 604_800;

/** Seconds of the `Cancel-After` header, such as `90s` or `1m`; undefined when there is none. @throws Problem invalid_request */
export function cancelAfterS(request: Request): number | undefined {
  const header = request.get('cancel-after');
  if (header === undefined) return undefined;
  const seconds = parseDurationS(header);
  if (seconds === undefined || seconds < MIN_S || seconds > MAX_S) {
    throw new Problem(
      'invalid_request',
      'Cancel-After is a time between 1 second and 7 days, such as 90s, 5m or 1h30m; this one is not.',
    );
  }
  return seconds;
}

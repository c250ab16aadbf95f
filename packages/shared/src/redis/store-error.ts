import { Problem } from '../problems.ts';

/** Replies of a Redis that is there and cannot serve now. */
const NOT_NOW = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|MISCONF|NOAUTH|UNBLOCKED)\b/;
const OUT_OF_MEMORY = /^OOM\b|\bOOM command not allowed\b/;
const CONNECTION =
  /Connection is closed|Stream isn't writeable|Command timed out|max retries per request|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|Socket closed|connect/i;

/** Turns an error of ioredis into what the API answers; anything unknown is passed through as the bug it is. */
export function translateStoreError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (OUT_OF_MEMORY.test(error.message)) {
    return new Problem('storage_full', 'Redis has reached its maxmemory. Nothing was stored. Try again later.', {
      retryAfterS: 5,
      cause: error,
    });
  }
  if (isConnectionError(error)) {
    return new Problem('storage_unavailable', 'Redis cannot be reached or does not answer. Try again shortly.', {
      retryAfterS: 1,
      cause: error,
    });
  }
  return error;
}

/** Whether trying again can help without anything being mended in between. */
export function isConnectionError(error: Error): boolean {
  return NOT_NOW.test(error.message) || CONNECTION.test(error.message) || error.name === 'MaxRetriesPerRequestError';
}

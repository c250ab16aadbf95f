import { Problem } from '../problems.ts';

/** Replies of a Redis that is there and cannot serve now; it comes back by itself. */
const NOT_NOW = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|MISCONF|UNBLOCKED)\b/;
const OUT_OF_MEMORY = /^OOM\b|\bOOM command not allowed\b/;
const CONNECTION =
  /Connection is closed|Stream isn't writeable|Cluster isn't ready|Command timed out|max retries per request|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|Socket closed|connect/i;
const CONNECTION_NAMES = new Set(['MaxRetriesPerRequestError', 'ClusterAllFailedError', 'AbortError']);

/** Turns an error of ioredis into what the API answers; anything unknown is passed through as the bug it is. */
export function translateStoreError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (OUT_OF_MEMORY.test(error.message)) {
    return new Problem('storage_full', 'Redis has reached its maxmemory. Nothing was stored. Try again later.', {
      retryAfterS: 5,
      cause: error,
    });
  }
  if (error.name === 'ReplyError' && !NOT_NOW.test(error.message)) {
    // A permission that is missing, a foreign key of our name, too many clients: not the request's fault, and nothing
    // that the next process of ours would do better. The reply itself is for the log, since it may quote arguments.
    return new Problem('storage_unavailable', 'Redis refuses a command. The log of this server says which and why.', {
      retryAfterS: 5,
      cause: error,
      needsOperator: true,
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

/** Runs a command of ioredis; what it throws is what the API answers. */
export async function withStoreErrors<T>(command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    throw translateStoreError(error);
  }
}

/** Whether trying again can help without anything being mended in between. */
export function isConnectionError(error: Error): boolean {
  return NOT_NOW.test(error.message) || CONNECTION.test(error.message) || CONNECTION_NAMES.has(error.name);
}

import type { HttpAnswer } from './http-get.ts';

/**
 * Whether a process that is not ready says that Redis is away: the API tells what its check of Redis found, a worker the
 * status of its connection. What is wrong with a Redis that is there ends a process, so waiting is all that there is to do.
 */
export function isWaitingForRedis({ status, body }: HttpAnswer): boolean {
  if (status !== 503) return false;
  try {
    const { redis } = JSON.parse(body);
    const found = typeof redis === 'string' ? redis : redis?.status;
    return typeof found === 'string' && !['ready', 'ok', 'unsuitable'].includes(found);
  } catch {
    return false;
  }
}

/** `url`: of a cluster several, separated by commas. The credentials stay out. */
export function waitingForRedis(urls: string, hint: string): string {
  return `Waiting for Redis at ${withoutCredentials(urls)} (REDIS_URL); ${hint} Ctrl-C gives up.`;
}

export function withoutCredentials(urls: string): string {
  const one = (url: string) => {
    const parsed = new URL(url);
    parsed.username = '';
    parsed.password = '';
    return parsed.href;
  };
  return urls.split(',').map(one).join(',');
}

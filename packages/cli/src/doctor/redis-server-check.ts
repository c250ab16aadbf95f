import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Finding } from './finding.ts';

/** Where no REDIS_URL is set, `npm start` runs a server of its own: whether there is one to run. */
export async function checkRedisBinary(binary: string): Promise<Finding> {
  const check = 'redis';
  const output = await promisify(execFile)(binary, ['--version'], { timeout: 5000 }).then(
    ({ stdout }) => stdout,
    () => undefined,
  );
  const version = /v=(\S+)/.exec(output ?? '')?.[1];
  if (version !== undefined) {
    return {
      check,
      status: 'info',
      message: `no REDIS_URL: npm start runs ${binary} ${version} for itself`,
      remedy: 'To look at another server, set REDIS_URL.',
    };
  }
  return {
    check,
    status: 'error',
    message: `no REDIS_URL, and ${binary} does not run here`,
    remedy: 'Install redis-server 6.2 or newer, set ONQUEUE_REDIS_SERVER to its path, or set REDIS_URL.',
  };
}

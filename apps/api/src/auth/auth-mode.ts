import { isIPv4 } from 'node:net';
import { type Config, ConfigError } from '@onqueue/shared';

/** Whether requests need a key. @throws ConfigError where everybody in the network could ask without one. */
export function isAuthOn({ auth, host }: Pick<Config, 'auth' | 'host'>): boolean {
  if (auth === 'auto') return !isLoopback(host);
  if (auth === 'off' && !isLoopback(host)) {
    throw new ConfigError(
      `ONQUEUE_AUTH=off is accepted only where nobody else can ask: ONQUEUE_HOST is ${host}, which is not loopback.\n` +
        '  Leave ONQUEUE_AUTH out and use the key that the first start prints, or set ONQUEUE_HOST=127.0.0.1.',
    );
  }
  return auth === 'on';
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

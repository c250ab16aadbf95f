import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { LaunchError } from './launch-error.ts';

/**
 * A port that nobody listens on now, and that was not handed out before. It lies below the range from which systems
 * take ports for outgoing connections, so that no connection grabs it before we bind it, or while a server that was
 * killed is away.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (handedOut.has(port)) continue;
    const code = await bindError(port, host);
    if (code === undefined) {
      handedOut.add(port);
      return port;
    }
    if (code !== 'EADDRINUSE') throw new LaunchError(`Cannot listen on ${host} (${code}).`);
  }
  throw new LaunchError(`No free port was found on ${host} between ${LOWEST} and ${HIGHEST}.`);
}

/**
 * `promised`: ports that are free and have an owner all the same.
 * @throws LaunchError that names the environment variable and a port that is free.
 */
export async function assertPortFree(
  port: number,
  host: string,
  variable: string,
  promised: readonly number[] = [],
): Promise<void> {
  const code = await bindError(port, host);
  if (code === undefined) return;
  if (code !== 'EADDRINUSE') throw new LaunchError(`Cannot listen on ${host}:${port} (${code}). Set ${variable}.`);
  const other = await nextFreePort(port, host, promised);
  throw new LaunchError(`Port ${port} is in use. Set ${variable} to a free one, such as ${variable}=${other}.`);
}

export async function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return (await bindError(port, host)) === undefined;
}

/** A port from the environment; undefined when it is not set. */
export function parsePort(text: string | undefined, variable: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new LaunchError(`${variable} must be a port from 0 to 65535 (0: any free one), not '${text}'.`);
}

/** Belongs to the Redis that the machine may run itself. */
export const REDIS_DEFAULT_PORT = 6379;

const handedOut = new Set<number>();
const LOWEST = 12_000;
const HIGHEST = 32_000;
const MAX_ATTEMPTS = 200;

async function nextFreePort(after: number, host: string, promised: readonly number[]): Promise<number> {
  for (let port = after + 1; port < Math.min(after + 50, 65_536); port++) {
    const isPromised = port === REDIS_DEFAULT_PORT || promised.includes(port);
    if (!isPromised && (await bindError(port, host)) === undefined) return port;
  }
  return freePort(host);
}

async function bindError(port: number, host: string): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN';
  }
  server.close();
  await once(server, 'close');
  return undefined;
}

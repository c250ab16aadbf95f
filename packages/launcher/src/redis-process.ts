import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LaunchError } from './launch-error.ts';
import { describeExit, ManagedProcess } from './managed-process.ts';
import { probeRedis } from './redis-probe.ts';

/** What redis-server is told. */
export interface RedisSettings {
  /** Default: `ONQUEUE_REDIS_SERVER` (set by the npm scripts), else `redis-server` on PATH. */
  binary?: string;
  /** How the append-only file reaches the disk; `off` runs without one. Default `everysec`. */
  appendfsync?: 'everysec' | 'always' | 'no' | 'off';
  /** As Redis writes it, such as `256mb`. Default: no limit. */
  maxmemory?: string;
  /** Default `noeviction`, the only policy that a queue can live with. */
  maxmemoryPolicy?: string;
  /** More arguments for redis-server. */
  args?: readonly string[];
}

/** Somebody else has the port. */
export class PortTaken extends LaunchError {
  constructor(port: number) {
    super(`redis-server cannot use port ${port}: it is taken.`);
  }
}

/** @throws LaunchError when the binary does not run. */
export async function spawnRedis(settings: RedisSettings, port: number, dataDir: string): Promise<ManagedProcess> {
  const command = settings.binary ?? (process.env.ONQUEUE_REDIS_SERVER || 'redis-server');
  try {
    return await ManagedProcess.start({ command, args: redisArgs(settings, port, dataDir) });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new LaunchError(
      `Cannot run ${command} (${code}). Install redis-server 6.2 or newer, set ONQUEUE_REDIS_SERVER to its path, or set REDIS_URL.`,
      { cause: error },
    );
  }
}

/** @throws LaunchError with the server's last words; PortTaken when another port would do. */
export async function untilRedisReady(server: ManagedProcess, port: number, dataDir: string): Promise<void> {
  const logFile = join(dataDir, REDIS_LOG_FILE);
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    if (server.hasExited) throw await earlyExit(server, port, logFile);
    const state = await probeRedis(port, server.pid);
    if (state === 'ready') return;
    if (state === 'stranger') throw new PortTaken(port);
    if (performance.now() > deadline) {
      throw new LaunchError(
        `redis-server was not ready after ${READY_TIMEOUT_MS / 1000} s: ${await lastWords(logFile)}`,
      );
    }
    await Promise.race([delay(POLL_MS), server.exited]);
  }
}

/** In the data folder. */
export const REDIS_LOG_FILE = 'redis.log';
/** Reading a large append-only file takes a while; a server that is silent for as long is broken. */
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 15;

function redisArgs(settings: RedisSettings, port: number, dataDir: string): string[] {
  const fsync = settings.appendfsync ?? 'everysec';
  const directives: Record<string, string> = {
    port: String(port),
    bind: '127.0.0.1',
    'protected-mode': 'yes',
    daemonize: 'no',
    dir: dataDir,
    logfile: join(dataDir, REDIS_LOG_FILE),
    // The append-only file is the whole story: snapshots would only fork a second process.
    save: '',
    appendonly: fsync === 'off' ? 'no' : 'yes',
    ...(fsync === 'off' ? {} : { appendfsync: fsync }),
    'maxmemory-policy': settings.maxmemoryPolicy ?? 'noeviction',
    ...(settings.maxmemory === undefined ? {} : { maxmemory: settings.maxmemory }),
  };
  return [...Object.entries(directives).flatMap(([name, value]) => [`--${name}`, value]), ...(settings.args ?? [])];
}

async function earlyExit(server: ManagedProcess, port: number, logFile: string): Promise<Error> {
  const exit = await server.exited;
  const words = server.output.tail(3).join(' | ') || (await lastWords(logFile));
  if (/address already in use/i.test(words)) return new PortTaken(port);
  return new LaunchError(`redis-server did not start (${describeExit(exit)}): ${words || 'it said nothing'}`);
}

async function lastWords(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-3).join(' | ');
}

import type { Redis } from 'ioredis';
import { masterNodes, type RedisConnection } from './connection.ts';
import { NO_EVICTION } from './server-memory.ts';

/** What the connected Redis promises. */
export interface RedisServerReport {
  version: string;
  maxmemoryPolicy: string;
  /**
   * `durable`: append-only file, every write synced before its answer. `default`: synced every second, so a power cut
   * may lose the last 2 s. `volatile`: no append-only file; a restart loses what came after the last snapshot.
   * `unknown`: the server does not tell.
   */
  durability: 'durable' | 'default' | 'volatile' | 'unknown';
}

/** The connected Redis cannot hold a queue; the message says what to change. */
export class UnsuitableRedisError extends Error {
  override readonly name = 'UnsuitableRedisError';
}

const MINIMUM_VERSION = [6, 2] as const;

/** @throws UnsuitableRedisError for an evicting policy or an old version: either would lose accepted jobs. */
export async function checkRedisServer(redis: RedisConnection): Promise<RedisServerReport> {
  const reports = await Promise.all(masterNodes(redis).map(checkNode));
  const [first] = reports;
  if (!first) throw new Error('Connection to the cluster is not there.');
  // A cluster promises what its weakest node does.
  return reports.reduce((weakest, report) => (rank(report) < rank(weakest) ? report : weakest), first);
}

const WEAKEST_FIRST = ['unknown', 'volatile', 'default', 'durable'];
const rank = ({ durability }: RedisServerReport) => WEAKEST_FIRST.indexOf(durability);

async function checkNode(redis: Redis): Promise<RedisServerReport> {
  const info = parseInfo(await redis.info());
  const version = info.get('redis_version') ?? 'unknown';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < MINIMUM_VERSION[0] || (major === MINIMUM_VERSION[0] && minor < MINIMUM_VERSION[1])) {
    throw new UnsuitableRedisError(
      `Redis ${version} is too old: onqueue needs 6.2 or newer. Upgrade the server that REDIS_URL names.`,
    );
  }
  const maxmemoryPolicy = info.get('maxmemory_policy') ?? 'unknown';
  if (maxmemoryPolicy !== NO_EVICTION) {
    throw new UnsuitableRedisError(
      `Redis has maxmemory-policy ${maxmemoryPolicy}, which may evict accepted jobs: onqueue needs noeviction. ` +
        `Run "redis-cli CONFIG SET maxmemory-policy noeviction" and put it into redis.conf, or set REDIS_URL to another server.`,
    );
  }
  // A passing state, and so no UnsuitableRedisError: after a failover the connection finds the new master by itself.
  if (info.get('role') === 'slave') {
    throw new Error(
      'Redis is a replica, and what is written to it is refused or lost: REDIS_URL has to name the master.',
    );
  }
  return { version, maxmemoryPolicy, durability: await readDurability(redis, info) };
}

/**
 * Whether a script may run and write, tried with one that changes nothing; `scratchKey` is a key that is never written.
 * @throws the reply that says why not: a permission that is missing, a full disk, too few replicas.
 */
export async function checkRedisWrites(redis: RedisConnection, scratchKey: string): Promise<void> {
  await redis.eval("return redis.call('DEL', KEYS[1])", 1, scratchKey);
}

/** Checks the server at every connect, since it may be another one, or configured anew. */
export function checkAtEveryConnect(
  redis: RedisConnection,
  handlers: { onSuitable: (report: RedisServerReport) => void; onUnsuitable: (error: UnsuitableRedisError) => void },
): void {
  redis.on('ready', () => {
    checkRedisServer(redis).then(handlers.onSuitable, (error: unknown) => {
      // Any other error is the connection's: it comes back, and so does the check.
      if (error instanceof UnsuitableRedisError) handlers.onUnsuitable(error);
    });
  });
}

async function readDurability(redis: Redis, info: Map<string, string>): Promise<RedisServerReport['durability']> {
  if (info.get('aof_enabled') === '0') return 'volatile';
  try {
    const [, appendfsync] = (await redis.config('GET', 'appendfsync')) as string[];
    return appendfsync === 'always' ? 'durable' : appendfsync === 'everysec' ? 'default' : 'volatile';
  } catch {
    // Managed servers often forbid CONFIG; then only its operator knows.
    return 'unknown';
  }
}

function parseInfo(text: string): Map<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line): [string, string][] => {
      const colon = line.indexOf(':');
      return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)]] : [];
    }),
  );
}

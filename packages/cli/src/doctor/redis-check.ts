import {
  checkRedisServer,
  checkRedisWrites,
  closeRedis,
  connectRedis,
  masterNodes,
  type RedisConnection,
  RedisKeys,
  type RedisServerReport,
  readServerMemory,
  UnsuitableRedisError,
  whenReady,
} from '@onqueue/shared/redis';
import type { Finding } from './finding.ts';

export interface RedisCheckOptions {
  url: string;
  isCluster: boolean;
  keyPrefix: string;
  /** Percent of `maxmemory` beyond which the API takes no jobs. */
  memoryLimitPercent: number;
  /** Unix milliseconds. */
  wallClock?: () => number;
}

const CONNECT_MS = 3000;

/** Whether the Redis that the settings name can hold a queue; writes nothing. */
export async function checkRedis(options: RedisCheckOptions): Promise<Finding[]> {
  let lastError: Error | undefined;
  const { url, isCluster } = options;
  const redis = connectRedis({ url, isCluster }, { kind: 'producer', timeoutMs: CONNECT_MS }, (error) => {
    lastError = error;
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), CONNECT_MS);
  });
  try {
    if ((await Promise.race([whenReady(redis), late])) === 'late') return [unreachable(url, lastError)];
    return await lookInto(redis, options);
  } catch (error) {
    return [unreachable(url, error as Error)];
  } finally {
    clearTimeout(timer);
    await closeRedis(redis);
  }
}

async function lookInto(redis: RedisConnection, options: RedisCheckOptions): Promise<Finding[]> {
  const { keyPrefix, memoryLimitPercent, wallClock = Date.now } = options;
  const findings: Finding[] = [{ check: 'redis', status: 'ok', message: `${shown(options.url)} answers` }];
  const suitable = await checkRedisServer(redis).then(
    (report) => [
      { check: 'redis version', status: 'ok' as const, message: report.version },
      { check: 'redis eviction', status: 'ok' as const, message: report.maxmemoryPolicy },
      durabilityFinding(report),
    ],
    (error: Error) => [unsuitable(error)],
  );
  findings.push(...suitable);
  findings.push(
    await checkRedisWrites(redis, new RedisKeys(keyPrefix).scratch(0)).then(
      (): Finding => ({ check: 'redis writes', status: 'ok', message: 'scripts may run and write' }),
      (error: Error): Finding => ({
        check: 'redis writes',
        status: 'error',
        message: error.message,
        remedy: 'Mend what the reply says: permissions (ACL), a full disk, or replicas that are missing.',
      }),
    ),
  );
  findings.push(memoryFinding(await readServerMemory(redis), memoryLimitPercent));
  findings.push(await clockFinding(redis, wallClock));
  return findings;
}

function unreachable(url: string, error: Error | undefined): Finding {
  return {
    check: 'redis',
    status: 'error',
    message: `${shown(url)} does not answer: ${error?.message ?? `nothing came in ${CONNECT_MS / 1000} s`}`,
    remedy:
      'Start it, or set REDIS_URL to where it is, with user and password. Without REDIS_URL npm start runs one of its own.',
  };
}

/** Policy or version: the message says what to do. */
function unsuitable(error: Error): Finding {
  const [message = error.message, ...rest] = error.message.split(': onqueue needs ');
  const remedy = rest.length > 0 ? `onqueue needs ${rest.join('')}` : 'Set REDIS_URL to the master.';
  const check = error instanceof UnsuitableRedisError && /too old/.test(message) ? 'redis version' : 'redis eviction';
  return { check: error instanceof UnsuitableRedisError ? check : 'redis role', status: 'error', message, remedy };
}

export function durabilityFinding({ durability }: Pick<RedisServerReport, 'durability'>): Finding {
  const check = 'redis durability';
  if (durability === 'durable')
    return { check, status: 'ok', message: 'durable: every write is on the disk before its answer' };
  if (durability === 'default') {
    return {
      check,
      status: 'info',
      message: 'default: a power cut may lose the last 2 seconds of accepted jobs',
      remedy: 'Where that is too much: appendfsync always (npm start -- --durable), see docs/guides/durability.md.',
    };
  }
  if (durability === 'volatile') {
    return {
      check,
      status: 'warning',
      message: 'volatile: a restart of Redis loses accepted jobs',
      remedy:
        'CONFIG SET appendonly yes and appendfsync everysec, and put both into redis.conf; see docs/guides/durability.md.',
    };
  }
  return {
    check,
    status: 'info',
    message: 'unknown: this server does not tell (CONFIG is forbidden)',
    remedy: 'Ask who runs it whether it has an append-only file, and how often that is synced.',
  };
}

const MB = 1024 ** 2;
/** Of what the API may fill. */
const NEARLY_FULL = 0.8;

function memoryFinding(
  { usedBytes, maxBytes }: { usedBytes: number; maxBytes: number },
  limitPercent: number,
): Finding {
  const check = 'redis memory';
  const used = `${Math.ceil(usedBytes / MB)} MB used`;
  if (maxBytes === 0) {
    return {
      check,
      status: 'warning',
      message: `${used}, no limit: a full machine ends Redis, not just new jobs`,
      remedy: 'Set maxmemory to what Redis may take (CONFIG SET maxmemory 2gb, and redis.conf), policy noeviction.',
    };
  }
  const limitBytes = (maxBytes * limitPercent) / 100;
  const message = `${used} of ${Math.ceil(maxBytes / MB)} MB; new jobs are refused from ${Math.ceil(limitBytes / MB)} MB on`;
  const remedy = 'Raise maxmemory, shorten ONQUEUE_RETENTION_S, or put large inputs elsewhere (ONQUEUE_BLOB_STORE).';
  if (usedBytes >= limitBytes) return { check, status: 'error', message: `${message}, which is now`, remedy };
  if (usedBytes >= limitBytes * NEARLY_FULL) return { check, status: 'warning', message, remedy };
  return { check, status: 'ok', message };
}

/** Receivers of webhooks refuse signatures whose time is off by more than five minutes. */
const MAX_SKEW_MS = 300_000;
const NOTABLE_SKEW_MS = 1000;

async function clockFinding(redis: RedisConnection, wallClock: () => number): Promise<Finding> {
  const [node] = masterNodes(redis);
  if (node === undefined) throw new Error('Connection to the cluster is not there.');
  const before = wallClock();
  const [seconds, microseconds] = await node.time();
  const after = wallClock();
  const redisMs = Number(seconds) * 1000 + Number(microseconds) / 1000;
  return skewFinding((before + after) / 2 - redisMs, (after - before) / 2);
}

/** `skewMs`: how much this machine is ahead; it is known to within `uncertaintyMs`. */
function skewFinding(skewMs: number, uncertaintyMs: number): Finding {
  const check = 'clocks';
  const sizeMs = Math.abs(skewMs);
  if (sizeMs <= NOTABLE_SKEW_MS + uncertaintyMs) {
    return { check, status: 'ok', message: `this machine and Redis agree to ${Math.ceil(sizeMs + uncertaintyMs)} ms` };
  }
  const side = skewMs > 0 ? 'ahead of' : 'behind';
  return {
    check,
    status: sizeMs > MAX_SKEW_MS ? 'error' : 'warning',
    message: `this machine is ${(sizeMs / 1000).toFixed(1)} s ${side} Redis: run_at, spans and the signatures of webhooks go by different clocks`,
    remedy: 'Let both keep time by NTP (chrony, systemd-timesyncd).',
  };
}

/** Without what is secret in it. */
function shown(url: string): string {
  return url
    .split(',')
    .map((one) => (URL.canParse(one) ? `redis at ${new URL(one).host}` : 'redis'))
    .join(', ');
}

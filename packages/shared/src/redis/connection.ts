import { Cluster, Redis, type RedisOptions } from 'ioredis';

/** One server, or a Redis Cluster; commands are the same. */
export type RedisConnection = Redis | Cluster;

export interface RedisTarget {
  /** `redis://…`; of a cluster any of its nodes, several separated by commas. */
  url: string;
  isCluster?: boolean;
}

/** Why a connection exists; ioredis' defaults fit none of these. */
export type ConnectionProfile =
  /** Serves requests: a command fails at once while Redis is away, and after `timeoutMs` when it hangs. */
  | { kind: 'producer'; timeoutMs: number }
  /** Serves workers: a command waits for Redis to come back. */
  | { kind: 'worker' }
  /** Listens to channels, for as long as it takes. */
  | { kind: 'subscriber' };

const reconnectDelayMs = (attempt: number) => Math.min(50 * attempt, 500);

type Options = Omit<RedisOptions, 'replyMapping'>;

/** Beyond the longest time that BullMQ lets a call block, 10 s: a worker that hears nothing for so long hears nothing more. */
const WORKER_SILENCE_MS = 15_000;
/** A subscriber sends nothing by itself, and would never know: it asks for an answer so often. */
const PING_MS = 5000;

/**
 * `socketTimeout`: a half-open connection (a dead NAT entry, a host that vanished) takes commands and never answers; TCP
 * notices after many minutes. A command that is not answered for so long ends the connection, and it is made anew.
 */
const PROFILES: Record<ConnectionProfile['kind'], Options> = {
  producer: {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    connectTimeout: 1000,
    retryStrategy: reconnectDelayMs,
  },
  worker: { maxRetriesPerRequest: null, retryStrategy: reconnectDelayMs, socketTimeout: WORKER_SILENCE_MS },
  subscriber: {
    maxRetriesPerRequest: null,
    retryStrategy: reconnectDelayMs,
    autoResubscribe: true,
    socketTimeout: PING_MS,
  },
};

/**
 * Opens a connection; it connects in the background and reconnects for ever. `onError` is told once an outage, not once
 * a reconnect. (Somebody has to listen: an error event that nobody hears ends the process.)
 */
export function connectRedis(
  target: RedisTarget | string,
  profile: ConnectionProfile,
  onError: (error: Error) => void,
): RedisConnection {
  const options: Options = { ...PROFILES[profile.kind] };
  if (profile.kind === 'producer') {
    options.commandTimeout = profile.timeoutMs;
    options.socketTimeout = 3 * profile.timeoutMs;
  }
  const redis = open(typeof target === 'string' ? { url: target } : target, options);
  let lastMessage: string | undefined;
  redis.on('error', (error: Error) => {
    if (error.message !== lastMessage) onError(error);
    lastMessage = error.message;
  });
  redis.on('ready', () => {
    lastMessage = undefined;
  });
  if (profile.kind === 'subscriber') keepAsking(redis);
  return redis;
}

function keepAsking(redis: RedisConnection): void {
  const timer = setInterval(() => {
    // What goes wrong is told by the connection.
    if (redis.status === 'ready') redis.ping().catch(() => {});
  }, PING_MS);
  timer.unref();
  redis.once('end', () => clearInterval(timer));
}

function open({ url, isCluster = false }: RedisTarget, options: Options): RedisConnection {
  if (!isCluster) return new Redis(url, options);
  const { enableOfflineQueue = true, retryStrategy: _, ...redisOptions } = options;
  return new Cluster(url.split(','), {
    redisOptions,
    enableOfflineQueue,
    clusterRetryStrategy: reconnectDelayMs,
    // A node that has just taken over answers MOVED, CLUSTERDOWN or TRYAGAIN for a while.
    retryDelayOnClusterDown: 100,
    retryDelayOnTryAgain: 100,
    scaleReads: 'master',
  });
}

export interface DuplicateOptions {
  /** How long a silent connection is believed to live. */
  socketTimeoutMs: number;
  /** Whether a command that was under way when the connection broke fails, instead of being sent again. */
  isForgetful?: boolean;
}

/** Another connection to the same place. */
export function duplicateConnection(
  redis: RedisConnection,
  { socketTimeoutMs, isForgetful = false }: DuplicateOptions,
): RedisConnection {
  const retries = isForgetful ? { maxRetriesPerRequest: 0 } : {};
  if (redis instanceof Redis) return redis.duplicate({ socketTimeout: socketTimeoutMs, ...retries });
  const { replyMapping: _, ...redisOptions } = { replyMapping: undefined, ...redis.options.redisOptions };
  return redis.duplicate([], { redisOptions: { ...redisOptions, socketTimeout: socketTimeoutMs } });
}

/** The servers that take writes: the one, or every master of the cluster. */
export function masterNodes(redis: RedisConnection): Redis[] {
  return redis instanceof Cluster ? redis.nodes('master') : [redis];
}

/** Resolves once the connection is usable; rejects never: whoever must not wait for ever brings the deadline. */
export function whenReady(redis: RedisConnection): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve();
  return new Promise((resolve) => redis.once('ready', () => resolve()));
}

/** Closes without waiting for a server that may not answer. */
export async function closeRedis(redis: RedisConnection): Promise<void> {
  if (redis.status === 'end') return;
  // Between two attempts to reconnect there is nothing to end: ioredis gives up the next one, and never says 'end'.
  const isBetweenAttempts = redis.status === 'reconnecting';
  const ended = new Promise<void>((resolve) => redis.once('end', () => resolve()));
  redis.disconnect();
  if (!isBetweenAttempts) await ended;
}

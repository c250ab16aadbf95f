import { join } from 'node:path';
import { type ChildService, type LogTarget, startChildService } from './child-service.ts';
import { assertPortFree, freePort, parsePort } from './free-port.ts';
import { type RedisServer, type RedisServerOptions, startRedisServer } from './redis-server.ts';
import { isWaitingForRedis } from './redis-wait.ts';
import { repoRoot } from './repo-root.ts';
import { checkSettings } from './settings-check.ts';
import { newWebhookSecret } from './webhook-secret.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface PlatformOptions {
  /** Default 1. */
  apis?: number;
  /** Default 1. */
  workers?: number;
  /** Default: a private server, see `redisOptions`. */
  redis?: { url: string } | 'private';
  redisOptions?: RedisServerOptions;
  /** The private Redis's data folder; kept. Default: a folder that `stop()` removes. */
  dataDir?: string;
  /** For APIs and workers; `apiEnv` and `workerEnv` come after it. */
  env?: Env;
  apiEnv?: Env;
  workerEnv?: Env;
  /** `true` (the default) hands on all of our own environment. `false` keeps out what could change a test. */
  inheritEnv?: boolean;
  /** Default: `models` of the repository. */
  modelsDir?: string;
  /** Of the first API. Default: `ONQUEUE_PORT`, else any free one. */
  apiPort?: number;
  /** Of the first worker. Default: `ONQUEUE_WORKER_PORT`, else any free one. */
  workerPort?: number;
  /** Default `quiet`. */
  log?: LogTarget;
  /** What to run instead of the built apps. */
  entries?: { api?: string; worker?: string };
  readyTimeoutMs?: number;
  /**
   * With it a start waits for Redis for as long as it takes, and calls this once when that takes some seconds. Without it
   * the time counts like any other.
   */
  onRedisAway?: () => void;
  /** Gives up a start: everything that runs by then is stopped, and `startPlatform` rejects. */
  signal?: AbortSignal;
}

/** Redis, APIs and workers as processes of their own. */
export interface Platform {
  readonly redisUrl: string;
  /** Undefined when `redis: {url}` names somebody else's. */
  readonly redis: RedisServer | undefined;
  /** All that were started, in order, also those that have ended. */
  readonly apis: readonly ChildService[];
  readonly workers: readonly ChildService[];
  /** The first API's. */
  readonly baseUrl: string;
  readonly webhookSecret: string;
  /** Resolve when the new process is ready. `env` comes after all other settings. */
  startApi(env?: Env): Promise<ChildService>;
  startWorker(env?: Env): Promise<ChildService>;
  /** SIGTERM to all, at the same time; then Redis. SIGKILL after the deadline. Calling it again changes nothing. */
  stop(deadlineMs?: number): Promise<void>;
  /** SIGKILL to all. */
  kill(): Promise<void>;
}

/**
 * Starts everything and waits until it is ready; what was started is stopped when one part fails.
 * @throws LaunchError that says which part, and what to do.
 */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const env: Env = { ...(options.inheritEnv === false ? neutralEnv() : process.env), ...options.env };
  const { redis: where, apiEnv, workerEnv } = options;
  // Before a private Redis takes its folder: who has misspelled a port wants to hear of that.
  const redisUrl = typeof where === 'object' ? { REDIS_URL: where.url } : { REDIS_URL: undefined };
  for (const extra of [apiEnv, workerEnv]) checkSettings({ ...env, ...redisUrl, ...extra });
  const redis = await startRedis(options);
  const platform = new LocalPlatform(options, env, redis);
  const giveUp = () => void platform.kill();
  options.signal?.addEventListener('abort', giveUp, { once: true });
  try {
    options.signal?.throwIfAborted();
    await platform.startFirst();
    return platform;
  } catch (error) {
    await platform.stop();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
}

type Redis = { url: string; server: RedisServer | undefined };

async function startRedis({ redis, redisOptions, dataDir }: PlatformOptions): Promise<Redis> {
  if (typeof redis === 'object') return { url: redis.url, server: undefined };
  const server = await startRedisServer({ ...redisOptions, ...(dataDir === undefined ? {} : { dataDir }) });
  return { url: server.url, server };
}

class LocalPlatform implements Platform {
  readonly redisUrl: string;
  readonly redis: RedisServer | undefined;
  readonly apis: ChildService[] = [];
  readonly workers: ChildService[] = [];
  readonly webhookSecret: string;
  readonly #options: PlatformOptions;
  readonly #env: Env;
  #isRedisAway = false;

  constructor(options: PlatformOptions, env: Env, redis: Redis) {
    this.redisUrl = redis.url;
    this.redis = redis.server;
    this.#options = options;
    this.webhookSecret = env.ONQUEUE_WEBHOOK_SECRET || newWebhookSecret();
    this.#env = { ...env, REDIS_URL: this.redisUrl, ONQUEUE_WEBHOOK_SECRET: this.webhookSecret };
  }

  get baseUrl(): string {
    const [first] = this.apis;
    if (first === undefined) throw new Error('This platform runs no API.');
    return first.baseUrl;
  }

  async startFirst(): Promise<void> {
    const { apis = 1, workers = 1, apiPort, workerPort } = this.#options;
    const starts = [
      ...Array.from({ length: apis }, (_, i) => this.#startApi({}, i === 0 ? apiPort : 0)),
      ...Array.from({ length: workers }, (_, i) => this.#startWorker({}, i === 0 ? workerPort : 0)),
    ];
    // Wait for all, also when one fails: what is still being spawned could not be stopped.
    const spawned = await Promise.allSettled(starts);
    for (const start of spawned) if (start.status === 'rejected') throw start.reason;
    this.#options.signal?.throwIfAborted();
    await Promise.all([...this.apis, ...this.workers].map(({ ready }) => ready));
  }

  async startApi(env: Env = {}): Promise<ChildService> {
    const api = await this.#startApi(env, parsePort(env.ONQUEUE_PORT, 'ONQUEUE_PORT') ?? 0);
    await api.ready;
    return api;
  }

  async startWorker(env: Env = {}): Promise<ChildService> {
    const worker = await this.#startWorker(env, parsePort(env.ONQUEUE_WORKER_PORT, 'ONQUEUE_WORKER_PORT') ?? 0);
    await worker.ready;
    return worker;
  }

  async stop(deadlineMs?: number): Promise<void> {
    await Promise.all([...this.apis, ...this.workers].map((service) => service.stop('SIGTERM', deadlineMs)));
    await this.redis?.stop();
  }

  async kill(): Promise<void> {
    await Promise.all([...this.apis, ...this.workers].map((service) => service.kill()));
    await this.redis?.stop();
  }

  async #startApi(extra: Env, port: number | undefined): Promise<ChildService> {
    const env = { ...this.#env, ...this.#options.apiEnv, ...extra };
    const address = await bindAddress(env, API_ADDRESS, port, this.#namedPorts);
    const api = await this.#start('api', address.baseUrl, { ...env, ...address.env });
    this.apis.push(api);
    return api;
  }

  async #startWorker(extra: Env, port: number | undefined): Promise<ChildService> {
    const modelsDir = this.#options.modelsDir ?? (this.#env.ONQUEUE_MODELS_DIR || join(repoRoot, 'models'));
    const env = { ...this.#env, ONQUEUE_MODELS_DIR: modelsDir, ...this.#options.workerEnv, ...extra };
    const address = await bindAddress(env, WORKER_ADDRESS, port, this.#namedPorts);
    const worker = await this.#start('worker', address.baseUrl, { ...env, ...address.env });
    this.workers.push(worker);
    return worker;
  }

  /** Ports that the first processes get or have; those that start at the same time do not listen yet. */
  get #namedPorts(): number[] {
    const { apiEnv, workerEnv, apiPort, workerPort } = this.#options;
    const named = [
      apiPort ?? parsePort({ ...this.#env, ...apiEnv }[API_ADDRESS.port], API_ADDRESS.port),
      workerPort ?? parsePort({ ...this.#env, ...workerEnv }[WORKER_ADDRESS.port], WORKER_ADDRESS.port),
    ];
    return named.filter((port) => port !== undefined);
  }

  #start(name: 'api' | 'worker', baseUrl: string, env: Env): Promise<ChildService> {
    const { entries, log = 'quiet', readyTimeoutMs, onRedisAway } = this.#options;
    const onWaiting = () => {
      if (!this.#isRedisAway) onRedisAway?.();
      this.#isRedisAway = true;
    };
    return startChildService({
      name,
      entry: entries?.[name] ?? join(repoRoot, 'apps', name, 'dist', 'main.js'),
      nodeArgs: ['--enable-source-maps'],
      env,
      baseUrl,
      cwd: repoRoot,
      log,
      ...(readyTimeoutMs === undefined ? {} : { readyTimeoutMs }),
      ...(onRedisAway === undefined ? {} : { isWaiting: isWaitingForRedis, onWaiting }),
    });
  }
}

const API_ADDRESS = { host: 'ONQUEUE_HOST', port: 'ONQUEUE_PORT' };
const WORKER_ADDRESS = { host: 'ONQUEUE_WORKER_HOST', port: 'ONQUEUE_WORKER_PORT' };

/** 0 takes any free port; undefined takes the one of the environment, or any. A named one must be free. */
async function bindAddress(
  env: Env,
  names: typeof API_ADDRESS,
  wanted: number | undefined,
  namedPorts: readonly number[],
) {
  const host = env[names.host] || '127.0.0.1';
  const named = wanted ?? parsePort(env[names.port], names.port) ?? 0;
  const port = named === 0 ? await freePort(host) : named;
  if (named !== 0) await assertPortFree(port, host, names.port, namedPorts);
  // "All addresses" is nothing one can connect to.
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const authority = reachable.includes(':') ? `[${reachable}]` : reachable;
  return { baseUrl: `http://${authority}:${port}`, env: { [names.host]: host, [names.port]: String(port) } };
}

/** What the machine needs (PATH, HOME…), without settings of ours and without what the test runner adds. */
function neutralEnv(): Env {
  const isForeign = (name: string) => name.startsWith('ONQUEUE_') || FOREIGN.has(name);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isForeign(name)));
}

const FOREIGN = new Set(['REDIS_URL', 'NODE_ENV', 'NODE_OPTIONS', 'JEST_WORKER_ID']);

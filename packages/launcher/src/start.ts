import type { EventEmitter } from 'node:events';
import { join, relative } from 'node:path';
import type { LogTarget } from './child-service.ts';
import { exampleRequest } from './example-request.ts';
import { LaunchError } from './launch-error.ts';
import { type Platform, type PlatformOptions, startPlatform } from './platform.ts';
import { waitingForRedis, withoutCredentials } from './redis-wait.ts';
import { onShutdownSignals } from './shutdown-signals.ts';
import { parseStartOptions, START_HELP, type StartOptions } from './start-options.ts';
import { unexpectedEnd } from './unexpected-end.ts';
import { keptWebhookSecret } from './webhook-secret.ts';

export interface StartPorts {
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** `.onqueue` lies here. */
  rootDir: string;
  print: (text: string) => void;
  printError: (text: string) => void;
  /** `process`, or a test's. */
  signals: Pick<EventEmitter, 'on' | 'off'>;
  entries?: { api?: string; worker?: string };
  log?: LogTarget;
  /** Milliseconds; tells a second Ctrl-C from an echo. */
  now?: () => number;
}

/** Runs `npm start` from the first line to the last; resolves with the exit code. */
export async function start(ports: StartPorts): Promise<number> {
  try {
    const options = parseStartOptions(ports.args);
    if (options.wantsHelp) {
      ports.print(START_HELP);
      return 0;
    }
    return await run(ports, options);
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    ports.printError(error.message);
    return 1;
  }
}

/** starting → up → draining → stopped; a second Ctrl-C leaps to killed, a process that ends leads to draining. */
async function run(ports: StartPorts, options: StartOptions): Promise<number> {
  const first = new AbortController();
  const second = new AbortController();
  const handlers = { onFirst: () => first.abort(), onSecond: () => second.abort() };
  const stopListening = onShutdownSignals(ports.signals, handlers, ports.now);
  try {
    const platform = await startUnlessAborted(ports, options, first.signal);
    if (platform === undefined) return 0;
    const ended = unexpectedEnd(platform);
    ports.print(await greeting(platform, ports, options));
    const failure = await Promise.race([aborted(first.signal), ended]);
    if (failure === undefined) ports.print('Draining… (Ctrl-C again stops at once)');
    else ports.printError(failure);
    const killed = aborted(second.signal).then(() => platform.kill());
    await Promise.race([platform.stop(), killed]);
    if (second.signal.aborted) return KILLED;
    return failure === undefined ? 0 : 1;
  } finally {
    stopListening();
  }
}

/** As a shell reports a process that SIGINT ended. */
const KILLED = 130;
/** Room for some 100 000 small jobs. At the limit new jobs are refused; nothing is evicted. */
const REDIS_MAX_MEMORY = '1gb';

async function startUnlessAborted(ports: StartPorts, options: StartOptions, signal: AbortSignal) {
  const { env, rootDir } = ports;
  const secret = env.ONQUEUE_WEBHOOK_SECRET || (await keptWebhookSecret(secretFile(rootDir)));
  const platformOptions: PlatformOptions = {
    workers: options.workers,
    env: { ...env, ONQUEUE_WEBHOOK_SECRET: secret, ONQUEUE_PORT: env.ONQUEUE_PORT || DEFAULT_PORT },
    inheritEnv: false,
    log: ports.log ?? 'inherit',
    signal,
    ...(ports.entries === undefined ? {} : { entries: ports.entries }),
    ...(env.REDIS_URL
      ? {
          redis: { url: env.REDIS_URL },
          onRedisAway: () => ports.print(waitingForRedis(env.REDIS_URL ?? '', 'the lines above say why.')),
        }
      : { dataDir: dataDir(rootDir), redisOptions: redisOptions(env, options) }),
  };
  try {
    return await startPlatform(platformOptions);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

const DEFAULT_PORT = '8080';
const dataDir = (rootDir: string) => join(rootDir, '.onqueue', 'redis-data');
const secretFile = (rootDir: string) => join(rootDir, '.onqueue', 'webhook-secret');

function redisOptions(
  env: StartPorts['env'],
  { isDurable }: StartOptions,
): NonNullable<PlatformOptions['redisOptions']> {
  const binary = env.ONQUEUE_REDIS_SERVER;
  return {
    appendfsync: isDurable ? 'always' : 'everysec',
    maxmemory: REDIS_MAX_MEMORY,
    ...(binary ? { binary } : {}),
  };
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

async function greeting(
  platform: Platform,
  { env, rootDir }: StartPorts,
  { isDurable }: StartOptions,
): Promise<string> {
  const near = (path: string) => relative(process.cwd(), path) || '.';
  const redis = platform.redis
    ? `${platform.redisUrl}  private; data in ${near(dataDir(rootDir))}, appendfsync ${isDurable ? 'always' : 'everysec'}, ${REDIS_MAX_MEMORY} at most`
    : `${withoutCredentials(platform.redisUrl)}  from REDIS_URL`;
  const secret = env.ONQUEUE_WEBHOOK_SECRET ? 'from ONQUEUE_WEBHOOK_SECRET' : `in ${near(secretFile(rootDir))}`;
  return [
    '',
    'onqueue is up.',
    `  API             ${platform.baseUrl}  (POST /jobs, GET /jobs/:id, GET /models)`,
    ...platform.workers.map((worker) => `  Worker          ${worker.baseUrl}  (GET /readyz, GET /metrics)`),
    `  Redis           ${redis}`,
    `  Webhook secret  ${secret}`,
    '',
    'Try it:',
    `  ${await exampleRequest(platform.baseUrl, 'fraud')}`,
    '',
    'Ctrl-C drains and stops.',
    '',
  ].join('\n');
}

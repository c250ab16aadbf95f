import type { EventEmitter } from 'node:events';
import { join, relative } from 'node:path';
import { freePort, isPortFree } from '../free-port.ts';
import { LaunchError } from '../launch-error.ts';
import { type Platform, startPlatform } from '../platform.ts';
import { waitingForRedis } from '../redis-wait.ts';
import { onShutdownSignals } from '../shutdown-signals.ts';
import { createApiClient } from './api-client.ts';
import { burstScene, digitScene, fraudScene, webhookScene } from './scenes.ts';

export interface DemoPorts {
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** The log goes to `.onqueue/demo.log` in it. */
  rootDir: string;
  print: (text: string) => void;
  printError: (text: string) => void;
  signals: Pick<EventEmitter, 'on' | 'off'>;
}

const HELP = `npm run demo

Starts Redis, an API and a worker on this machine, sends them jobs, shows what comes back, and stops everything.
The commands that it prints work against a platform that stays up: npm start.

Environment
  ONQUEUE_PORT          The port of the API (default: 8080, or any free one when that is taken).
  REDIS_URL             Use this Redis. Without it a private one runs and is removed afterwards.
  ONQUEUE_REDIS_SERVER  The redis-server binary for the private one.`;

/** The same port as `npm start`'s, so that the printed commands can be repeated there as they are. */
const PREFERRED_PORT = 8080;

/** Runs `npm run demo` from the first line to the last; resolves with the exit code, and leaves nothing running. */
export async function demo(ports: DemoPorts): Promise<number> {
  const { args, print, printError } = ports;
  if (args.includes('--help') || args.includes('-h')) {
    print(HELP);
    return 0;
  }
  if (args.length > 0) {
    printError(`The demo takes no '${args[0]}'; 'npm run demo -- --help' says what there is.`);
    return 1;
  }
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  const stopListening = onShutdownSignals(ports.signals, { onFirst: interrupt, onSecond: interrupt });
  let platform: Platform | undefined;
  try {
    platform = await start(ports, interruption.signal);
    await Promise.race([show(platform, ports), interrupted(interruption.signal)]);
    if (interruption.signal.aborted) return INTERRUPTED;
    await platform.stop();
    print(farewell(platform));
    return 0;
  } catch (error) {
    if (interruption.signal.aborted) return INTERRUPTED;
    printError(error instanceof LaunchError ? error.message : `The demo failed: ${(error as Error).message}`);
    printError(`What the processes said: ${relative(process.cwd(), logFile(ports.rootDir))}`);
    return 1;
  } finally {
    stopListening();
    await platform?.stop();
  }
}

/** As a shell reports a process that SIGINT ended. */
const INTERRUPTED = 130;
const logFile = (rootDir: string) => join(rootDir, '.onqueue', 'demo.log');

async function start({ env, rootDir, print }: DemoPorts, signal: AbortSignal): Promise<Platform> {
  const redis = env.REDIS_URL ? 'the Redis of REDIS_URL' : 'a private Redis';
  print(`Starting ${redis}, an API and a worker…`);
  return startPlatform({
    inheritEnv: false,
    env: {
      ...env,
      // The receiver of the webhook is this process.
      ONQUEUE_WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8',
      ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
    },
    ...(env.ONQUEUE_PORT ? {} : { apiPort: (await isPortFree(PREFERRED_PORT)) ? PREFERRED_PORT : await freePort() }),
    ...(env.REDIS_URL
      ? {
          redis: { url: env.REDIS_URL },
          onRedisAway: () =>
            print(waitingForRedis(env.REDIS_URL ?? '', 'start it, or unset REDIS_URL for a private one.')),
        }
      : env.ONQUEUE_REDIS_SERVER
        ? { redisOptions: { binary: env.ONQUEUE_REDIS_SERVER } }
        : {}),
    log: { file: logFile(rootDir) },
    signal,
  });
}

async function show(platform: Platform, { rootDir, print }: DemoPorts): Promise<void> {
  const { baseUrl, webhookSecret } = platform;
  const stage = { client: createApiClient(baseUrl), baseUrl, webhookSecret, rootDir, print };
  await fraudScene(stage);
  await digitScene(stage);
  await burstScene(stage);
  await webhookScene(stage);
}

function farewell({ baseUrl }: Platform): string {
  const { port } = new URL(baseUrl);
  const start = port === String(PREFERRED_PORT) ? 'npm start' : `ONQUEUE_PORT=${port} npm start`;
  return `\nDone; everything is stopped. To repeat these commands: '${start}', then paste them in another terminal.`;
}

function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

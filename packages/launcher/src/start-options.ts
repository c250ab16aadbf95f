import { parseArgs } from 'node:util';
import { LaunchError } from './launch-error.ts';

/** What `npm start -- …` was asked for. */
export interface StartOptions {
  workers: number;
  /** Write every job to the disk before it is acknowledged. */
  isDurable: boolean;
  wantsHelp: boolean;
}

export const START_HELP = `npm start [-- --workers <n>] [-- --durable]

Starts Redis, the API and the workers, and stops them on Ctrl-C.

  --workers <n>   Worker processes (default 1).
  --durable       The private Redis syncs its file before every answer (appendfsync always): an acknowledged job
                  survives a power cut. Without it (everysec) the last two seconds may be lost with the machine.
  --help          This text.

Environment (all settings: docs/configuration.md)
  ONQUEUE_PORT            The port of the API (default 8080).
  REDIS_URL               Use this Redis. Without it a private one runs, its data in .onqueue/redis-data.
  ONQUEUE_REDIS_SERVER    The redis-server binary for the private one.
  ONQUEUE_WEBHOOK_SECRET  Signs webhooks. Without it the one in .onqueue/webhook-secret does, made at the first start.`;

/** @throws LaunchError for an argument that does not exist. */
export function parseStartOptions(args: readonly string[]): StartOptions {
  const { workers, durable, help } = parse(args);
  const count = Number(workers ?? '1');
  if (!Number.isInteger(count) || count < 1 || count > MAX_WORKERS) {
    throw new LaunchError(`--workers must be a number from 1 to ${MAX_WORKERS}, not '${workers}'.`);
  }
  return { workers: count, isDurable: durable ?? false, wantsHelp: help ?? false };
}

const MAX_WORKERS = 64;

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: { workers: { type: 'string' }, durable: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    }).values;
  } catch (error) {
    throw new LaunchError(`${(error as Error).message.split('. ')[0]}. 'npm start -- --help' lists what there is.`);
  }
}

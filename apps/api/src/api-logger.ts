import { logError } from '@onqueue/shared';
import { type DestinationStream, type Logger, pino } from 'pino';

/** The API's log: one JSON line each. Of an error it says only what `logError` lets through, wherever it is logged. */
export function createApiLogger(level: string, destination?: DestinationStream): Logger {
  const options = { level, base: { service: 'api', pid: process.pid }, serializers: { err: logError } };
  return destination === undefined ? pino(options) : pino(options, destination);
}

import { logError } from './log-error.ts';

/**
 * The last resort of a process: an error that nobody caught, thrown or rejected, ends it with one line in the log. Node
 * would print the error with all its properties, which of a failed command are its arguments: inputs, results, URLs.
 */
export function endAtUncaughtErrors({
  process,
  logger,
}: {
  process: Pick<NodeJS.Process, 'on' | 'exit'>;
  /** Its serializer of `err` is `logError`. */
  logger: { fatal(bindings: object, message: string): void };
}): void {
  // Without a listener of its own, an unhandled rejection arrives here too.
  process.on('uncaughtException', (error: unknown) => {
    logger.fatal({ err: error }, `nobody caught: ${logError(error).message}`);
    process.exit(1);
  });
}

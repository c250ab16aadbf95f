import { type Clock, logError } from '@onqueue/shared';
import { isConnectionError } from '@onqueue/shared/redis';
import type { Logger } from 'pino';
import { NewsGate } from './news-gate.ts';

/**
 * The one place where the parts of a worker tell of errors that they go on after. Most are a Redis that is away, and
 * every connection and loop says so at each of its attempts: whoever is first says it for all.
 */
export class OutageLog {
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #news: NewsGate;

  constructor({ logger, clock }: { logger: Pick<Logger, 'warn'>; clock: Clock }) {
    this.#logger = logger;
    this.#news = new NewsGate({ clock });
  }

  /** `part`: who tells it; the message, unless it is the connection that is to blame. */
  warn(error: Error, part: string, fields: object = {}): void {
    if (!this.#news.isNews(logError(error).message)) return;
    this.#logger.warn({ ...fields, err: error }, isConnectionError(error) ? 'redis is away' : part);
  }

  /** Redis is there again: the next outage is another one. */
  over(): void {
    this.#news.forget();
  }
}

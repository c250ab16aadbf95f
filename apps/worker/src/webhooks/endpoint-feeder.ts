import { type Clock, systemClock } from '@onqueue/shared';
import type { EndpointShares } from './endpoint-shares.ts';
import type { WebhookLog } from './webhook-log.ts';

export interface EndpointFeederOptions {
  shares: EndpointShares;
  log: WebhookLog;
  onError: (error: Error) => void;
  clock?: Clock;
  /** Between two feeds at most: how late a delivery is whose dispatcher died after it had put it off. */
  pollMs?: number;
  reconcileEveryMs?: number;
}

/** Between two feeds at least, however much is due: what had no room is fed when an attempt ends, too. */
const MIN_PAUSE_MS = 20;

/**
 * Feeds the webhook queue when something parked becomes due, and looks for slots that a crash left taken. Every dispatcher
 * has one, nobody leads: a feed that finds nothing costs Redis a few reads.
 *
 * States: idle → (start) waiting ⇄ feeding → (stop) stopped. Waiting, it is woken earlier when a call of the shares says
 * that something is due before.
 */
export class EndpointFeeder {
  readonly #options: Required<EndpointFeederOptions>;
  #timer: { cancel(): void } | undefined;
  #wakesAtMs = Number.POSITIVE_INFINITY;
  #reconcilesAtMs = 0;
  #turn: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: EndpointFeederOptions) {
    this.#options = { clock: systemClock, pollMs: 1000, reconcileEveryMs: 10_000, ...options };
  }

  start(): void {
    const { shares, pollMs } = this.#options;
    shares.onNextDue = (inMs) => this.#wakeIn(Math.min(pollMs, Math.max(MIN_PAUSE_MS, inMs ?? pollMs)));
    this.#wakeIn(0);
  }

  /** Resolves when the feed in hand has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#turn;
  }

  #wakeIn(ms: number): void {
    const { clock } = this.#options;
    const atMs = clock.now() + ms;
    if (this.#isStopped || atMs >= this.#wakesAtMs) return;
    this.#timer?.cancel();
    this.#wakesAtMs = atMs;
    this.#timer = clock.setTimeout(() => {
      this.#turn = this.#feed();
    }, ms);
  }

  async #feed(): Promise<void> {
    const { shares, clock, log, onError, pollMs, reconcileEveryMs } = this.#options;
    try {
      if (clock.now() >= this.#reconcilesAtMs) {
        const freed = await shares.reconcile();
        this.#reconcilesAtMs = clock.now() + reconcileEveryMs;
        if (freed > 0) log.warn({ deliveries: freed }, 'webhook slots freed that a crash had left taken');
      } else {
        await shares.feed();
      }
    } catch (error) {
      if (this.#isStopped) return;
      onError(error instanceof Error ? error : new Error(String(error)));
    }
    this.#wakesAtMs = Number.POSITIVE_INFINITY;
    this.#wakeIn(pollMs);
  }
}

import type { CircuitState, Clock, RowErrorCode, RowResult } from '@onqueue/shared';
import { isFaultOfModel } from '@onqueue/shared';
import type { HaltSignal } from '../batching/halt-signal.ts';
import { SlidingCount } from './sliding-count.ts';

export interface CircuitPolicy {
  /** Rows in a row that ran alone and killed or hung their runner, or found no memory, which open the circuit. */
  strikes: number;
  /** Of the rows of the last `windowMs`, once there are `minRows`: the share without an answer that opens it. */
  errorPercent: number;
  minRows: number;
  windowMs: number;
  /** How long it stays open at first; twice as long each time that a trial fails, at most `maxOpenMs`. */
  openMs: number;
  maxOpenMs: number;
}

/**
 * Why a circuit opened: a golden row failed or no runner could be had (`unavailable`), strikes in a row (by what the last
 * one was), or too many rows without an answer (`errors`).
 */
export type CircuitCause = 'unavailable' | 'crash' | 'hang' | 'memory' | 'errors';

export interface CircuitTransition {
  to: CircuitState;
  /** Why it opened. */
  cause?: CircuitCause;
  detail?: string;
}

export interface CircuitBreakerOptions {
  policy: CircuitPolicy;
  clock: Clock;
  /** Computes a golden row; rejects when that has no answer. */
  probe: () => Promise<void>;
  onTransition: (transition: CircuitTransition) => void;
}

/** Leave to compute one batch; worth nothing any more after the next transition. */
export type CircuitTicket = number;

/** Real batches that must come back before a circuit that was open is trusted again. */
const TRIALS = 3;

/**
 * Keeps work away from a model version that fails, and finds out when it does not any more.
 *
 * closed ── trip ──> open ── after `openMs`, a golden row is answered ──> half_open ── three batches come back ──> closed.
 * open ── the golden row fails ──> open, and half_open ── trip ──> open: for twice as long as before.
 *
 * What counts is what row isolation has found out, so that no row can close a model to all others:
 * - no golden row is answered, or no runner can be had: the model is at fault, and the circuit opens at once;
 * - a row that had a runner to itself kills it, hangs it or finds no memory: a strike. One such row is the row's own affair,
 *   `strikes` of them without any success between are the model's;
 * - a share of the rows of late without an answer, NaN and infinity included. Rows that the model refuses count for nothing:
 *   it works.
 * Batches of several rows that fail say nothing: their halves do. In half_open one strike is enough.
 *
 * Our own class: cockatiel's breakers decide by single calls and Date.now, and know neither rows nor golden rows.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #answered: SlidingCount;
  readonly #failed: SlidingCount;
  readonly #waiting = new Set<() => void>();
  #state: CircuitState = 'closed';
  #ticket: CircuitTicket = 1;
  #strikes = 0;
  /** Openings since it was closed last. */
  #openings = 0;
  #probeAtMs = 0;
  #timer: { cancel(): void } | undefined;
  #trialsInFlight = 0;
  #trialsPassed = 0;
  #isStopped = false;

  constructor(options: CircuitBreakerOptions) {
    const { clock, policy } = options;
    this.#options = options;
    this.#answered = new SlidingCount({ clock, windowMs: policy.windowMs });
    this.#failed = new SlidingCount({ clock, windowMs: policy.windowMs });
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** Until the next golden row is tried; 0 unless it is open. */
  get retryAfterMs(): number {
    return this.#state === 'open' ? Math.max(0, this.#probeAtMs - this.#options.clock.now()) : 0;
  }

  /** Leave for a batch, or undefined: the model is not to be asked. Whoever has one says how the batch ended. */
  enter(): CircuitTicket | undefined {
    if (this.#state === 'closed') return this.#ticket;
    if (this.#state === 'open' || this.#trialsInFlight + this.#trialsPassed >= TRIALS) return undefined;
    this.#trialsInFlight += 1;
    return this.#ticket;
  }

  /** The batch came back; some of its rows may have no answer. */
  answered(ticket: CircuitTicket, results: readonly RowResult[]): void {
    if (ticket !== this.#ticket) return;
    let failed = 0;
    for (const result of results) if (result.status === 'failed' && isFaultOfModel(result.error.code)) failed += 1;
    const answered = results.length - failed;
    this.#answered.add(answered);
    if (answered > 0) this.#strikes = 0;
    if (failed > 0) this.#failed.add(failed);
    if (this.#state === 'closed') {
      if (failed > 0) this.#tripOnErrorRate();
      return;
    }
    this.#trialsInFlight -= 1;
    if (answered === 0) this.#trip('errors', 'No row of a trial had an answer.');
    else if (++this.#trialsPassed >= TRIALS) this.#close();
    else this.#letIn(1);
  }

  /** The batch has no answer as a whole. */
  failed(ticket: CircuitTicket, { code, rows, detail }: { code: RowErrorCode; rows: number; detail: string }): void {
    if (ticket !== this.#ticket) return;
    if (this.#state === 'half_open') this.#trialsInFlight -= 1;
    if (code === 'model_unavailable') {
      this.#trip('unavailable', detail);
      return;
    }
    if (rows > 1 || !isFaultOfModel(code)) {
      if (this.#state === 'half_open' && rows === 1) this.#letIn(1);
      return;
    }
    this.#failed.add();
    this.#strikes += 1;
    if (this.#state === 'half_open' || this.#strikes >= this.#options.policy.strikes) {
      this.#trip(CAUSES[code] ?? 'errors', `${this.#strikes} rows in a row had no answer. ${detail}`);
    } else {
      this.#tripOnErrorRate();
    }
  }

  /** The model is at fault, whoever found out: it fails on a golden row, or cannot be loaded any more. */
  condemn(detail: string): void {
    if (this.#state !== 'open') this.#trip('unavailable', detail);
  }

  /**
   * Whether the model may be asked before `maxMs` have passed. Those who wait are let in a few at a time while it is half open,
   * so that a model which kills its runners does not meet all of them in one batch again. False sooner when `halt` is set off, or `release` was called:
   * nobody waits any more.
   */
  whenAdmitting(halt: HaltSignal, maxMs: number): Promise<boolean> {
    if (this.#state === 'closed' || (this.#state === 'half_open' && this.#waiting.size === 0))
      return Promise.resolve(true);
    if (this.#isStopped || halt.isHalted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const end = () => {
        timer.cancel();
        halt.onHalt(undefined);
        this.#waiting.delete(end);
        resolve(this.#state !== 'open');
      };
      const timer = this.#options.clock.setTimeout(end, maxMs);
      halt.onHalt(end);
      this.#waiting.add(end);
    });
  }

  /** Lets go of everybody who waits, now and from now on, and tries nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#letIn(this.#waiting.size);
  }

  #tripOnErrorRate(): void {
    const { minRows, errorPercent } = this.#options.policy;
    const [failed, answered] = [this.#failed.sum, this.#answered.sum];
    const all = failed + answered;
    if (all < minRows || failed * 100 < errorPercent * all) return;
    this.#trip('errors', `${failed} of the last ${all} rows had no answer.`);
  }

  #trip(cause: CircuitCause, detail: string): void {
    const { openMs, maxOpenMs } = this.#options.policy;
    const delayMs = Math.min(openMs * 2 ** Math.min(this.#openings, 30), maxOpenMs);
    this.#openings += 1;
    this.#probeAtMs = this.#options.clock.now() + delayMs;
    this.#timer?.cancel();
    this.#timer = this.#isStopped
      ? undefined
      : this.#options.clock.setTimeout(() => {
          void this.#probe();
        }, delayMs);
    this.#become({ to: 'open', cause, detail });
  }

  async #probe(): Promise<void> {
    const ticket = this.#ticket;
    try {
      await this.#options.probe();
    } catch (error) {
      if (ticket === this.#ticket) this.#trip('unavailable', (error as Error).message);
      return;
    }
    if (ticket !== this.#ticket || this.#isStopped) return;
    this.#become({ to: 'half_open' });
    this.#letIn(TRIALS);
  }

  #close(): void {
    this.#openings = 0;
    this.#become({ to: 'closed' });
    this.#letIn(this.#waiting.size);
  }

  /** What was seen before a transition counts for nothing after it. */
  #become(transition: CircuitTransition): void {
    this.#state = transition.to;
    this.#ticket += 1;
    this.#strikes = this.#trialsInFlight = this.#trialsPassed = 0;
    this.#answered.clear();
    this.#failed.clear();
    this.#options.onTransition(transition);
  }

  #letIn(count: number): void {
    for (const end of [...this.#waiting].slice(0, count)) end();
  }
}

const CAUSES: Partial<Record<RowErrorCode, CircuitCause>> = {
  runner_crashed: 'crash',
  runner_timeout: 'hang',
  out_of_memory: 'memory',
};

import { type ClaimedJob, type Clock, faultPoint, type JobOutcome, rowsOf } from '@onqueue/shared';
import { originArguments } from '@onqueue/shared/redis';
import { afterFault, type ServedQueue } from '../job-source.ts';
import type { LockKeeper } from './lock-keeper.ts';
import type { ScriptCall } from './scripts/script-call.ts';
import { type EndedJob, endedJob, type HeldJob, parseSwapReply, type SwapReply } from './swap-codec.ts';

export interface QueueSlotOptions extends ServedQueue {
  partition: number;
  /** Unlike any other slot's, of any worker: it names the swaps and the locks. */
  name: string;
  /** How the keys of the queue begin. */
  queuePrefix: string;
  scratchKey: string;
  prefix: string;
  /** Jobs in the queue's wait list, at most: those beyond are with their tenants until it is their turn. */
  feedLimit: number;
  retentionMs: number;
  maxPredictions: number;
  queueMetricsMinutes: number;
  lockDurationMs: number;
  swap: ScriptCall;
  locks: LockKeeper;
  clock: Clock;
  /** The slot has stopped swapping: it waits for jobs, or for room. */
  onSettled: () => void;
  onFenced: (job: ClaimedJob) => void;
  onCommitted: (job: ClaimedJob, outcome: JobOutcome) => void;
  onError: (error: Error) => void;
}

/** One script for so many; more would hold Redis up for the others. */
const MAX_JOBS_PER_SWAP = 64;
/** Results beyond this go into the next swap. */
const MAX_COMMIT_BYTES = 4 * 1024 * 1024;
/** A limited queue is looked at again at least this often, so that its delayed jobs move on. */
const MAX_LIMITED_MS = 30_000;
const RETRY_MS = { first: 50, last: 2000 };

/**
 * One queue in this worker's hands. It sends one swap at a time, numbered; what ends meanwhile goes with the next one, so
 * that batches form by themselves.
 *
 * waiting ── offer(), or a job ends ──> swapping ── no work, or no room ──> waiting | full
 * waiting | full ── a job ends ──> swapping. limited: as waiting, until the queue's rate limit lets it claim again.
 * stopClaiming() ──> draining: swaps only commit; empty when nothing is in hand.
 */
export class QueueSlot {
  readonly markerKey: string;
  /** When the next delayed job is due, as far as this worker knows; on the monotonic clock. */
  dueAtMs = Number.POSITIVE_INFINITY;
  readonly #options: QueueSlotOptions;
  #ended: EndedJob[] = [];
  #inHand = 0;
  /** Counted where there is a limit to them. */
  #rowsInHand = 0;
  /** Of the last claim; before the first, jobs may be of any size. */
  #rowsPerJob = Number.POSITIVE_INFINITY;
  #number = 0;
  #isSwapping = false;
  #isDraining = false;
  /** Counts what says that there may be jobs: a swap that was sent before does not answer for those after it. */
  #offers = 0;
  #answeredOffers = 0;
  #limit: { cancel(): void } | undefined;
  #onAsked: (() => void)[] = [];
  #onEmpty: (() => void)[] = [];

  constructor(options: QueueSlotOptions) {
    this.#options = options;
    this.markerKey = `${options.queuePrefix}marker`;
  }

  get hasRoom(): boolean {
    return this.#roomAfter({ jobs: 0, rows: 0 }) > 0;
  }

  /** Whether it has asked for jobs, got all there were, and could take more. */
  get isWaiting(): boolean {
    return this.hasRoom && !this.#isSwapping && !this.#mayHaveJobs && !this.#limit && !this.#isDraining;
  }

  /** There may be jobs. Resolves when Redis has been asked for them, or cannot be: there is no room, or no leave. */
  offer(): Promise<void> {
    this.#offers += 1;
    return new Promise((resolve) => {
      this.#onAsked.push(resolve);
      void this.#swapWhileNeeded();
    });
  }

  stopClaiming(): void {
    this.#isDraining = true;
    this.#limit?.cancel();
    this.#limit = undefined;
  }

  /** Resolves when nothing is in hand any more. */
  whenEmpty(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEmpty.push(resolve);
      this.#settle();
    });
  }

  get #mayHaveJobs(): boolean {
    return this.#offers > this.#answeredOffers;
  }

  get #mayClaim(): boolean {
    return !this.#isDraining && !this.#limit;
  }

  async #swapWhileNeeded(): Promise<void> {
    if (this.#isSwapping) return;
    this.#isSwapping = true;
    // What ends in this turn of the event loop goes with one swap.
    await turn();
    let onAsked: (() => void)[] = [];
    while (this.#ended.length > 0 || (this.#mayHaveJobs && this.#mayClaim && this.hasRoom)) {
      for (const resolve of onAsked) resolve();
      onAsked = await this.#swap();
      await turn();
    }
    this.#isSwapping = false;
    // Not before the slot waits again: who has asked goes on to look at which slots do.
    for (const resolve of onAsked) resolve();
    this.#settle();
  }

  #settle(): void {
    if (this.#isSwapping) return;
    for (const resolve of this.#onAsked.splice(0)) resolve();
    if (this.#inHand === 0) for (const resolve of this.#onEmpty.splice(0)) resolve();
    this.#options.onSettled();
  }

  /** One swap; what to call when its answer is in force. */
  async #swap(): Promise<(() => void)[]> {
    const { locks, clock, lockDurationMs } = this.#options;
    await locks.settle();
    const ended = this.#takeEnded();
    const endedRows = ended.reduce((sum, { held }) => sum + rowsOf(held.job), 0);
    const room = this.#roomAfter({ jobs: ended.length, rows: endedRows });
    const wanted = this.#mayClaim ? Math.min(MAX_JOBS_PER_SWAP, room) : 0;
    const offers = this.#offers;
    const onAsked = this.#onAsked.splice(0);
    const sentAtMs = clock.now();
    const reply = await this.#exchange(ended, wanted);
    const isLate = clock.now() - sentAtMs > lockDurationMs / 2;

    for (const [index, item] of ended.entries()) this.#conclude(item, reply.commits[index]?.status === 'committed');
    for (const fault of reply.faults) this.#options.onError(new Error(`the swap script: ${fault}`));
    await this.#takeUp(reply, isLate);
    if (wanted > 0) {
      const isDrained = !reply.hasMore && reply.claimed.length + reply.settled.length < wanted;
      if (isDrained) this.#answeredOffers = offers;
      else if (!this.#mayHaveJobs) this.#offers += 1;
      this.dueAtMs = reply.delayedMs === undefined ? Number.POSITIVE_INFINITY : clock.now() + reply.delayedMs;
      if (reply.limitedMs > 0) this.#wait(reply.limitedMs);
    }
    return onAsked;
  }

  /** Jobs that may be claimed when so many are gone; of unknown size, so they are taken to be as those of late. */
  #roomAfter(gone: { jobs: number; rows: number }): number {
    const { concurrency, rows } = this.#options;
    const jobs = this.#inHand - gone.jobs;
    if (!rows || concurrency <= jobs) return concurrency - jobs;
    const rowsInHand = this.#rowsInHand - gone.rows;
    const byRows = Math.floor((rows.max - rowsInHand) / this.#rowsPerJob);
    return Math.min(concurrency - jobs, Math.max(byRows, rows.minJobs - jobs, 0));
  }

  #takeEnded(): EndedJob[] {
    let bytes = 0;
    let count = 0;
    for (const { arguments: values } of this.#ended) {
      if (count === MAX_JOBS_PER_SWAP || bytes > MAX_COMMIT_BYTES) break;
      for (const value of values) bytes += typeof value === 'string' ? value.length : 0;
      count += 1;
    }
    return this.#ended.splice(0, count);
  }

  /** Sends a swap until it is answered; a repeat has the same number, so the script does it once. */
  async #exchange(ended: readonly EndedJob[], wanted: number): Promise<SwapReply> {
    const { swap, scratchKey, prefix, retentionMs, maxPredictions, queuePrefix, lockDurationMs } = this.#options;
    const { queueMetricsMinutes, feedLimit, name, partition, clock, onError } = this.#options;
    this.#number += 1;
    const token = `${name}:${this.#number}`;
    const fixed = [
      prefix,
      retentionMs,
      maxPredictions,
      queuePrefix,
      name,
      this.#number,
      token,
      lockDurationMs,
      wanted,
      queueMetricsMinutes,
      feedLimit,
    ];
    const origins = originArguments(ended.map(({ outcome }) => outcome));
    const args = [...fixed, ...origins, ...ended.flatMap((item) => item.arguments)];
    for (let delayMs = RETRY_MS.first; ; delayMs = Math.min(delayMs * 2, RETRY_MS.last)) {
      try {
        visitBefore(ended, wanted);
        const reply = parseSwapReply(await swap(scratchKey, ...args), { partition, token });
        visitAfter(ended, reply);
        return reply;
      } catch (error) {
        onError(error as Error);
        await new Promise<void>((resolve) => clock.setTimeout(resolve, delayMs));
      }
    }
  }

  #conclude({ held, outcome }: EndedJob, isCommitted: boolean): void {
    const { locks, onCommitted, onError } = this.#options;
    if (!isCommitted) {
      this.#drop(held);
      return;
    }
    locks.release(held);
    this.#letGo(held);
    try {
      onCommitted(held.job, outcome);
    } catch (error) {
      onError(error as Error);
    }
  }

  #letGo({ job }: HeldJob): void {
    this.#inHand -= 1;
    this.#rowsInHand -= rowsOf(job);
  }

  /** Another attempt holds the job, or its run is over. */
  #drop(held: HeldJob): void {
    const { locks, onFenced, onError } = this.#options;
    locks.release(held);
    this.#letGo(held);
    try {
      onFenced(held.job);
    } catch (error) {
      onError(error as Error);
    }
  }

  async #takeUp({ claimed, settled }: SwapReply, isLate: boolean): Promise<void> {
    const { locks, queuePrefix, onError } = this.#options;
    this.#inHand += claimed.length + settled.length;
    for (const { held } of settled) this.#rowsInHand += rowsOf(held.job);
    if (claimed.length > 0) {
      const rows = claimed.reduce((sum, { job }) => sum + rowsOf(job), 0);
      this.#rowsInHand += rows;
      this.#rowsPerJob = Math.max(1, rows / claimed.length);
    }
    for (const held of claimed) locks.hold(held, queuePrefix);
    for (const { held, outcome, error } of settled) {
      if (error) onError(error);
      this.#end(held, outcome);
    }
    // The answer was long on its way, or this process stood still: some may have been taken up by others.
    if (isLate) await locks.renew();
    for (const held of claimed) {
      if (locks.isHeld(held)) void this.#handle(held);
      else this.#drop(held);
    }
  }

  async #handle(held: HeldJob): Promise<void> {
    try {
      faultPoint('score.before');
      const outcome = await this.#options.handler(held.job, held.attempt);
      faultPoint('score.after');
      this.#end(held, outcome);
    } catch (error) {
      this.#options.onError(error as Error);
      this.#end(held, afterFault(held.job, held.attempt, error as Error));
    }
  }

  #end(held: HeldJob, outcome: JobOutcome): void {
    this.#ended.push(endedJob(held, outcome));
    void this.#swapWhileNeeded();
  }

  #wait(limitedMs: number): void {
    this.#limit?.cancel();
    this.#limit = this.#options.clock.setTimeout(
      () => {
        this.#limit = undefined;
        void this.offer();
      },
      Math.min(limitedMs, MAX_LIMITED_MS),
    );
  }
}

function visitBefore(ended: readonly EndedJob[], wanted: number): void {
  if (ended.length > 0) faultPoint('commit.before');
  if (ended.some(isHandedOn)) faultPoint('requeue.before');
  if (ended.some(hasFailed)) faultPoint('attempt.failed.before');
  if (wanted > 0) faultPoint('claim.before');
}

function visitAfter(ended: readonly EndedJob[], { claimed }: SwapReply): void {
  if (ended.length > 0) faultPoint('commit.after');
  if (ended.some(isHandedOn)) faultPoint('requeue.after');
  if (ended.some(hasFailed)) faultPoint('attempt.failed.after');
  if (ended.some(({ outcome }) => outcome.state !== 'queued')) faultPoint('finish.after');
  if (claimed.length > 0) faultPoint('claim.after');
}

function isHandedOn({ outcome }: EndedJob): boolean {
  return outcome.state === 'queued' && !outcome.spendsAttempt;
}

/** The attempt, not the run: another one follows. */
function hasFailed({ outcome }: EndedJob): boolean {
  return outcome.state === 'queued' && outcome.spendsAttempt;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

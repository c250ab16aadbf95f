import { type ClaimedJob, type Clock, faultPoint, type JobOutcome, LANES, systemClock } from '@onqueue/shared';
import {
  closeRedis,
  duplicateConnection,
  queueName,
  type RedisConnection,
  type RedisKeys,
} from '@onqueue/shared/redis';
import { feedLimitOf, type PartitionSource, type ServedQueue } from '../job-source.ts';
import { LockKeeper } from './lock-keeper.ts';
import { type Marker, MarkerListener } from './marker-listener.ts';
import { QueueSlot } from './queue-slot.ts';
import { RENEW_LUA } from './scripts/renew.ts';
import { bindScript, type ScriptCall } from './scripts/script-call.ts';
import { SIGNAL_LUA } from './scripts/signal.ts';
import { SWAP_LUA } from './scripts/swap.ts';
import { SWEEP_STALLED_LUA } from './scripts/sweep-stalled.ts';

export interface BatchJobSourceOptions {
  /** Unlike any other worker's, now or before: it names the swaps and the locks. */
  worker: string;
  partition: number;
  keys: RedisKeys;
  /** Must wait for Redis (`maxRetriesPerRequest: null`). Duplicated: one connection for commands, one that blocks. */
  redis: RedisConnection;
  /** All of this partition; `add` brings others. */
  queues: readonly ServedQueue[];
  retentionMs: number;
  /** Prediction records kept per model, about; 0 keeps none. */
  maxPredictions: number;
  /** Minutes of BullMQ's metrics that are kept; 0 keeps none. */
  queueMetricsMinutes: number;
  lockDurationMs: number;
  stalledIntervalMs: number;
  /** How long a wait for jobs lasts at most; then every queue is looked at, in case that a sign was lost. */
  pollMs?: number;
  clock?: Clock;
  onFenced: (job: ClaimedJob) => void;
  onCommitted: (job: ClaimedJob, outcome: JobOutcome) => void;
  onError: (error: Error) => void;
}

const POLL_MS = 5000;
/** Beyond its timeout a blocking call that is silent is on a dead connection. */
const SILENCE_MS = 1000;
const RETRY_MS = 200;
/** Below it, halves would make batches smaller than it gains. */
const MIN_SHARED_CONCURRENCY = 64;

/**
 * Jobs of all queues of a partition, claimed and committed many at a time in one script with BullMQ's own code inside
 * (README.md has the way of a job and what happens at each crash point).
 *
 * created ── start() ──> serving ── drain() ──> draining ── nothing in hand ──> drained.
 *
 * While it serves, one loop waits for markers of those queues that wait for jobs, each slot swaps on its own, and two
 * timers renew locks and put the jobs of dead workers back.
 */
export class BatchJobSource implements PartitionSource {
  readonly #options: Required<BatchJobSourceOptions>;
  #queues: readonly ServedQueue[];
  #serving: Serving | undefined;
  #draining: Promise<void> | undefined;

  constructor(options: BatchJobSourceOptions) {
    this.#options = { pollMs: POLL_MS, clock: systemClock, ...options };
    this.#queues = options.queues;
  }

  start(): void {
    if (this.#serving || this.#draining) throw new Error('A source is started once. This is a bug.');
    this.#serving = new Serving({ ...this.#options, queues: this.#queues });
  }

  add(queues: readonly ServedQueue[]): void {
    this.#queues = [...this.#queues, ...queues];
    this.#serving?.add(queues);
  }

  async remove(model: string): Promise<void> {
    this.#queues = this.#queues.filter((queue) => queue.model !== model);
    await this.#serving?.remove(model);
  }

  drain(): Promise<void> {
    this.#draining ??= this.#serving?.drain() ?? Promise.resolve();
    return this.#draining;
  }
}

/** What one slot of a queue has, and the queue. */
interface ServedSlot {
  queue: ServedQueue;
  queuePrefix: string;
  slot: QueueSlot;
}

class Serving {
  readonly #options: Required<BatchJobSourceOptions>;
  readonly #commands: RedisConnection;
  readonly #blocking: RedisConnection;
  readonly #listener: MarkerListener;
  readonly #locks: LockKeeper;
  readonly #swap: ScriptCall;
  readonly #sweep: ScriptCall;
  /** Interactive ones first. */
  #served: ServedSlot[] = [];
  #isDraining = false;
  /** Names are never used twice: a swap of an earlier slot might be taken for one of its successor. */
  #slotsMade = 0;
  /** The markers that the blocking call waits for; undefined: there is no such call. */
  #listed: ReadonlySet<string> | undefined;
  #onSettled: (() => void) | undefined;
  #pollAtMs = 0;
  #sweepTimer: { cancel(): void } | undefined;

  constructor(options: Required<BatchJobSourceOptions>) {
    this.#options = options;
    const { redis, keys, partition, worker, queues, pollMs, lockDurationMs, onError } = options;
    const prefix = keys.partition(partition);
    const scratchKey = keys.scratch(partition);
    // A command that is not answered for a whole lock's life will not be: the connection is made anew, and ioredis sends
    // it again. Swaps are numbered, the other commands harmless.
    this.#commands = duplicateConnection(redis, { socketTimeoutMs: Math.max(SILENCE_MS, lockDurationMs) });
    this.#blocking = duplicateConnection(redis, { socketTimeoutMs: pollMs + SILENCE_MS });
    for (const connection of [this.#commands, this.#blocking]) connection.on('error', onError);
    // What the old connection took from a marker, nobody has seen.
    this.#blocking.on('ready', () => void this.#offerAll());
    const wakeKey = `${prefix}wake:${worker}`;
    const signal = bindScript(this.#commands, 'onqueueSignal', SIGNAL_LUA);
    this.#listener = new MarkerListener({ blocking: this.#blocking, signal, scratchKey, wakeKey });
    const renew = bindScript(this.#commands, 'onqueueRenew', RENEW_LUA);
    this.#locks = new LockKeeper({ ...options, renew, scratchKey, prefix });
    this.#sweep = bindScript(this.#commands, 'onqueueSweepStalled', SWEEP_STALLED_LUA);
    this.#swap = bindScript(this.#commands, 'onqueueSwap', SWAP_LUA);
    this.#insert(queues);
    this.#locks.start();
    void this.#sweepStalled();
    void this.#listen();
  }

  add(queues: readonly ServedQueue[]): void {
    if (this.#isDraining) return;
    this.#insert(queues);
    const models = new Set(queues.map(({ model }) => model));
    const added = this.#served.filter(({ queue }) => models.has(queue.model)).map(({ slot }) => slot);
    // It asks at once, and is among those that the next wait is for.
    void Promise.all(oneOfEachQueue(added).map((slot) => slot.offer())).then(() => this.#stopWaiting());
  }

  async remove(model: string): Promise<void> {
    const leaving = this.#served.filter(({ queue }) => queue.model === model).map(({ slot }) => slot);
    for (const slot of leaving) slot.stopClaiming();
    await Promise.all(leaving.map((slot) => slot.whenEmpty()));
    this.#served = this.#served.filter(({ queue }) => queue.model !== model);
    this.#stopWaiting();
    await this.#handMarkersOn(leaving);
  }

  get #slots(): QueueSlot[] {
    return this.#served.map(({ slot }) => slot);
  }

  #insert(queues: readonly ServedQueue[]): void {
    const { keys, partition, worker } = this.#options;
    const prefix = keys.partition(partition);
    const added = queues.flatMap((queue) => {
      const queuePrefix = `${keys.bullPrefix(partition)}:${queueName(queue.model, queue.lane)}:`;
      return sharesOf(queue.concurrency).map((concurrency, share): ServedSlot => {
        this.#slotsMade += 1;
        const slot: QueueSlot = new QueueSlot({
          ...this.#options,
          ...queue,
          concurrency,
          ...(queue.rows && concurrency < queue.concurrency ? { rows: halfOf(queue.rows) } : {}),
          feedLimit: feedLimitOf(queue),
          name: `${worker}:${queueName(queue.model, queue.lane)}:${share}.${this.#slotsMade}`,
          queuePrefix,
          scratchKey: keys.scratch(partition),
          prefix,
          swap: this.#swap,
          locks: this.#locks,
          onSettled: () => this.#settled(slot),
        });
        return { queue, queuePrefix, slot };
      });
    });
    const rank = ({ queue }: ServedSlot) => LANES.indexOf(queue.lane);
    this.#served = [...this.#served, ...added].toSorted((a, b) => rank(a) - rank(b));
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    for (const slot of this.#slots) slot.stopClaiming();
    this.#onSettled?.();
    await closeRedis(this.#blocking);
    await this.#handMarkersOn(this.#slots);
    await Promise.all(this.#slots.map((slot) => slot.whenEmpty()));
    this.#locks.stop();
    this.#sweepTimer?.cancel();
    this.#sweepTimer = undefined;
    await closeRedis(this.#commands);
  }

  async #listen(): Promise<void> {
    while (!this.#isDraining) {
      const waiting = this.#slots.filter((slot) => slot.isWaiting);
      if (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          this.#onSettled = resolve;
        });
        continue;
      }
      const { clock } = this.#options;
      const untilMs = Math.min(this.#pollAtMs, ...waiting.map((slot) => slot.dueAtMs));
      if (untilMs <= clock.now()) {
        await this.#lookAt(waiting);
        continue;
      }
      const marker = await this.#waitForMarker(waiting, untilMs - clock.now());
      if (marker && !this.#isDraining) await this.#serve(marker);
    }
  }

  async #waitForMarker(waiting: readonly QueueSlot[], timeoutMs: number): Promise<Marker | null> {
    this.#listed = new Set(waiting.map((slot) => slot.markerKey));
    try {
      const marker = await this.#listener.wait([...this.#listed], timeoutMs);
      if (marker) faultPoint('marker.after');
      return marker;
    } catch (error) {
      if (this.#isDraining) return null;
      this.#options.onError(error as Error);
      this.#pollAtMs = 0;
      await new Promise<void>((resolve) => this.#options.clock.setTimeout(resolve, RETRY_MS));
      return null;
    } finally {
      this.#listed = undefined;
    }
  }

  /** A marker may be lost (its taker died), and nobody tells when a pause or a limit ends elsewhere. */
  async #lookAt(waiting: readonly QueueSlot[]): Promise<void> {
    const { clock, pollMs } = this.#options;
    const nowMs = clock.now();
    const isPoll = this.#pollAtMs <= nowMs;
    if (isPoll) this.#pollAtMs = nowMs + pollMs;
    const asked = waiting.filter((slot) => isPoll || slot.dueAtMs <= nowMs);
    await Promise.all(oneOfEachQueue(asked).map((slot) => slot.offer()));
  }

  async #serve(marker: Marker): Promise<void> {
    const slot = this.#slots.find(({ markerKey, hasRoom }) => markerKey === marker.key && hasRoom);
    if (slot) {
      await slot.offer();
      return;
    }
    await this.#attempt(() => this.#listener.putBack([marker]));
  }

  async #offerAll(): Promise<void> {
    if (this.#isDraining) return;
    await Promise.all(oneOfEachQueue(this.#slots).map((slot) => slot.offer()));
  }

  #settled(slot: QueueSlot): void {
    if (!slot.isWaiting) return;
    this.#onSettled?.();
    this.#onSettled = undefined;
    if (this.#listed?.has(slot.markerKey)) return;
    this.#stopWaiting();
  }

  /** The wait that runs, if there is one, is begun anew with the slots that there are now. */
  #stopWaiting(): void {
    this.#onSettled?.();
    this.#onSettled = undefined;
    if (!this.#listed) return;
    this.#listed = undefined; // One wake is enough.
    void this.#attempt(() => this.#listener.wake());
  }

  async #sweepStalled(): Promise<void> {
    const { keys, partition, stalledIntervalMs, clock } = this.#options;
    this.#sweepTimer = clock.setTimeout(() => void this.#sweepStalled(), stalledIntervalMs);
    await this.#attempt(async () => {
      faultPoint('sweep.stalled.before');
      const prefixes = [...new Set(this.#served.map(({ queuePrefix }) => queuePrefix))];
      if (prefixes.length === 0) return;
      const count = await this.#sweep(keys.scratch(partition), stalledIntervalMs, ...prefixes);
      if (Number(count) > 0) faultPoint('sweep.stalled.after');
    });
  }

  /** The blocking call may have taken a marker when it was ended: somebody else shall look. */
  async #handMarkersOn(slots: readonly QueueSlot[]): Promise<void> {
    const keys = new Set(slots.map(({ markerKey }) => markerKey));
    await this.#attempt(() => this.#listener.putBack([...keys].map((key) => ({ key, score: '0', member: '0' }))));
  }

  async #attempt(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#options.onError(error as Error);
    }
  }
}

/**
 * A queue with much in hand has two slots: while Redis works on the swap of one, this process works on the jobs of the
 * other. The second gets jobs only when the first is full, so that little work comes in few swaps.
 */
function sharesOf(concurrency: number): number[] {
  if (concurrency < MIN_SHARED_CONCURRENCY) return [concurrency];
  const half = concurrency >> 1;
  return [concurrency - half, half];
}

function halfOf({ max, minJobs }: NonNullable<ServedQueue['rows']>): NonNullable<ServedQueue['rows']> {
  return { max: Math.ceil(max / 2), minJobs: Math.ceil(minJobs / 2) };
}

function oneOfEachQueue(slots: readonly QueueSlot[]): QueueSlot[] {
  const seen = new Set<string>();
  return slots.filter(({ hasRoom, markerKey }) => hasRoom && !seen.has(markerKey) && seen.add(markerKey));
}

import type { BatchCurvePoint, EffectiveBatching, Lane } from '@onqueue/shared';
import { BatchTime } from './batch-time.ts';
import { BulkShare } from './bulk-share.ts';
import { LatencyTarget } from './latency-target.ts';
import { RowQueue } from './row-queue.ts';

/** What a row has to say to be put into a batch. */
export interface BatchableRow {
  lane: Lane;
  /** The same for the rows of a job that is computed apart. */
  apart: object | undefined;
  submittedAtMs: number;
}

export interface FormedBatch<Row> {
  rows: readonly Row[];
  isBulkOnly: boolean;
  /** What such batches take is learned here. */
  time: BatchTime;
}

/** Rows that may share a batch, and so wait together. */
class Bucket<Row> {
  readonly interactive = new RowQueue<Queued<Row>>();
  readonly bulk = new RowQueue<Queued<Row>>();
  readonly isApart: boolean;
  readonly time: BatchTime;

  constructor({ isApart, time }: { isApart: boolean; time: BatchTime }) {
    this.isApart = isApart;
    this.time = time;
  }

  get length(): number {
    return this.interactive.length + this.bulk.length;
  }
}

interface Queued<Row> {
  row: Row;
  /** Of its arrival; times may be the same. */
  number: number;
}

/** How many rows of either lane a batch gets. */
interface Cut {
  interactive: number;
  bulk: number;
}

/**
 * The rows that wait, and which of them are the next batch.
 *
 * Rows wait in buckets: those of a job that is computed apart in one of their own. A bucket is ready when it is full or its oldest row
 * has waited for the delay. Of those with interactive rows the one that waits longest goes first, and bulk rows fill its
 * batch up, as long as they lengthen it by no more than a bulk slice. With no such bucket a batch of bulk rows alone is formed,
 * and cut to a slice: whoever arrives meanwhile waits no longer than that. What is owed to bulk ({@link BulkShare}) goes before
 * either. In each lane of a bucket rows keep their order.
 */
export class BatchFormer<Row extends BatchableRow> {
  /** Rows in a batch at most; the policy's limit until something smaller is found to be better. */
  maxBatchSize: number;
  readonly #policy: EffectiveBatching;
  readonly #share: BulkShare;
  readonly #target: LatencyTarget | undefined;
  readonly #time = new BatchTime();
  readonly #rows: Bucket<Row>;
  /** Those that have rows, by what their rows have in common. */
  readonly #waiting = new Map<object, Bucket<Row>>();
  #arrivals = 0;
  #length = 0;

  constructor(policy: EffectiveBatching) {
    this.#policy = policy;
    this.maxBatchSize = policy.maxBatchSize;
    this.#share = new BulkShare(policy.bulkMinShare);
    this.#target = policy.targetP99Ms === undefined ? undefined : new LatencyTarget(policy.targetP99Ms);
    this.#rows = new Bucket({ isApart: false, time: this.#time });
  }

  /** Rows that wait. */
  get length(): number {
    return this.#length;
  }

  push(row: Row): void {
    const key = row.apart ?? this.#rows;
    let bucket = this.#waiting.get(key);
    if (!bucket) {
      bucket = row.apart ? new Bucket<Row>({ isApart: true, time: this.#time }) : this.#rows;
      this.#waiting.set(key, bucket);
    }
    bucket[row.lane].push({ row, number: this.#arrivals++ });
    this.#length += 1;
  }

  /** Takes rows that are no longer to wait, wherever they are. */
  drop(isDropped: (row: Row) => boolean): Row[] {
    const dropped: Row[] = [];
    for (const [key, bucket] of this.#waiting) {
      for (const lane of [bucket.interactive, bucket.bulk]) {
        for (const { row } of lane.drop((queued) => isDropped(queued.row))) dropped.push(row);
      }
      if (bucket.length === 0) this.#waiting.delete(key);
    }
    this.#length -= dropped.length;
    return dropped;
  }

  /** There is a new measurement of how long batches take. */
  adopt({ max_batch_size, curve }: { max_batch_size: number; curve: readonly BatchCurvePoint[] }): void {
    this.maxBatchSize = max_batch_size;
    this.#time.adopt(curve);
  }

  /** A row ended, so long after it came. */
  observe({ lane }: Row, latencyMs: number): void {
    if (lane === 'interactive') this.#target?.observe(latencyMs);
  }

  /**
   * The next batch; or when there may be one, on the clock's scale: `Infinity` when not before something else changes. One
   * that is formed ahead waits for a runner and cannot grow any more, so it has to be full; and it comes before whatever arrives
   * later, so it is never of bulk rows alone.
   */
  next(
    nowMs: number,
    { mayBeBulkOnly, isAhead = false }: { mayBeBulkOnly: boolean; isAhead?: boolean },
  ): FormedBatch<Row> | number {
    const lead = isAhead ? this.#fullLead() : this.#lead(nowMs, mayBeBulkOnly);
    return typeof lead === 'number' ? lead : this.#take(...lead, mayBeBulkOnly);
  }

  /** The bucket whose turn it is. */
  #lead(nowMs: number, mayBeBulkOnly: boolean): [key: object, bucket: Bucket<Row>] | number {
    let interactive: [object, Bucket<Row>] | undefined;
    let bulk: [object, Bucket<Row>] | undefined;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#waiting) {
      const [, bucket] = entry;
      const readyAtMs = this.#readyAtMs(bucket);
      if (readyAtMs > nowMs) nextMs = Math.min(nextMs, readyAtMs);
      else if (bucket.interactive.first) interactive = older(interactive, entry, 'interactive');
      else if (mayBeBulkOnly) bulk = older(bulk, entry, 'bulk');
    }
    if (interactive && bulk && this.#isBulkDue(bulk[1])) return bulk;
    return interactive ?? bulk ?? nextMs;
  }

  #fullLead(): [key: object, bucket: Bucket<Row>] | number {
    let lead: [object, Bucket<Row>] | undefined;
    for (const entry of this.#waiting) {
      const [, bucket] = entry;
      const isFull = bucket.length >= this.#fullSize(bucket);
      if (isFull && !bucket.isApart && bucket.interactive.first) lead = older(lead, entry, 'interactive');
    }
    return lead ?? Number.POSITIVE_INFINITY;
  }

  /** Whether bulk rows that no interactive row can share a batch with are owed as many places as they would take. */
  #isBulkDue(bucket: Bucket<Row>): boolean {
    return bucket === this.#longestBulk && this.#share.owedRows >= this.#cutOf(bucket).bulk;
  }

  /** Where the bulk row is that has waited longest. */
  get #longestBulk(): Bucket<Row> | undefined {
    let longest: Bucket<Row> | undefined;
    for (const bucket of this.#waiting.values()) {
      const number = bucket.bulk.first?.number;
      if (number !== undefined && number <= (longest?.bulk.first?.number ?? number)) longest = bucket;
    }
    return longest;
  }

  #readyAtMs(bucket: Bucket<Row>): number {
    const { maxQueueDelayMs } = this.#policy;
    const hasDelay = maxQueueDelayMs > 0 || this.#target;
    if (!hasDelay || bucket.isApart || bucket.length >= this.#fullSize(bucket)) return 0;
    const oldest = (row: Queued<Row> | undefined) => row?.row.submittedAtMs ?? Number.POSITIVE_INFINITY;
    // Bulk rows fill batches up, but have no target to wait for.
    const delayMs = this.#target ? this.#target.delayMs(bucket.time.estimateMs(bucket.length) ?? 0) : maxQueueDelayMs;
    const bulkDelayMs = this.#target ? 0 : maxQueueDelayMs;
    return Math.min(oldest(bucket.interactive.first) + delayMs, oldest(bucket.bulk.first) + bulkDelayMs);
  }

  /** So many rows need no more company: the batch is full, or has a size that is preferred. */
  #fullSize(bucket: Bucket<Row>): number {
    const limit = bucket.interactive.length > 0 ? this.#maxRows(bucket) : this.#sliceRows(bucket);
    return Math.min(limit, this.#policy.preferredBatchSizes[0] ?? limit);
  }

  /** With a target, no more than compute within half of it: a row may have to wait for the batch before its own as well. */
  #maxRows({ time }: Bucket<Row>): number {
    const { maxBatchSize } = this;
    return this.#target ? time.rowsWithin(this.#target.targetMs / 2, maxBatchSize) : maxBatchSize;
  }

  /** Rows of a batch without interactive ones. */
  #sliceRows(bucket: Bucket<Row>): number {
    return bucket.time.rowsWithin(this.#policy.bulkSliceMs, this.#maxRows(bucket));
  }

  #take(key: object, bucket: Bucket<Row>, mayBeBulkOnly: boolean): FormedBatch<Row> {
    const longestBulk = this.#longestBulk;
    const cut = this.#cutOf(bucket, bucket === longestBulk ? this.#owedRows(bucket, mayBeBulkOnly) : 0);
    const queued = [...bucket.interactive.take(cut.interactive), ...bucket.bulk.take(cut.bulk)];
    if (bucket.length === 0) this.#waiting.delete(key);
    this.#length -= queued.length;
    this.#share.formed({
      rows: queued.length,
      bulkRows: bucket === longestBulk ? cut.bulk : 0,
      isBulkLeft: this.#longestBulk !== undefined,
      maxBatchSize: this.maxBatchSize,
    });
    return { rows: queued.map(({ row }) => row), isBulkOnly: cut.interactive === 0, time: bucket.time };
  }

  /** Places of a batch that are not for interactive rows; all of them only where it may be one of bulk rows alone. */
  #owedRows(bucket: Bucket<Row>, mayBeBulkOnly: boolean): number {
    return Math.min(this.#share.owedRows, mayBeBulkOnly ? this.maxBatchSize : this.#maxRows(bucket) - 1);
  }

  #cutOf(bucket: Bucket<Row>, owedRows = 0): Cut {
    const cut = this.#largestCut(bucket, owedRows);
    const rows = cut.interactive + cut.bulk;
    const preferred = this.#policy.preferredBatchSizes.findLast((size) => size <= rows);
    if (preferred === undefined) return cut;
    // Bulk rows stay behind first, but for those that are owed.
    const bulk = Math.min(cut.bulk, Math.max(Math.min(owedRows, preferred), preferred - cut.interactive));
    return { interactive: preferred - bulk, bulk };
  }

  #largestCut(bucket: Bucket<Row>, owedRows: number): Cut {
    const maxRows = this.#maxRows(bucket);
    const waiting = { interactive: bucket.interactive.length, bulk: bucket.bulk.length };
    if (bucket.isApart && waiting.interactive > 0) {
      return { interactive: Math.min(waiting.interactive, maxRows), bulk: 0 };
    }
    const owed = Math.min(owedRows, waiting.bulk, maxRows);
    const interactive = Math.min(waiting.interactive, maxRows - owed);
    if (interactive === 0) return { interactive, bulk: Math.min(waiting.bulk, this.#sliceRows(bucket)) };
    const fill = Math.max(owed, this.#fillRows(bucket, interactive, maxRows));
    return { interactive, bulk: Math.min(waiting.bulk, fill) };
  }

  /** Bulk rows that lengthen a batch of so many interactive rows by no more than a slice. */
  #fillRows({ time, bulk }: Bucket<Row>, interactive: number, maxRows: number): number {
    if (bulk.length === 0 || interactive === maxRows) return 0;
    const ms = time.estimateMs(interactive);
    if (ms === undefined) return maxRows - interactive;
    return Math.max(0, time.rowsWithin(ms + this.#policy.bulkSliceMs, maxRows) - interactive);
  }
}

function older<Row>(
  one: [object, Bucket<Row>] | undefined,
  other: [object, Bucket<Row>],
  lane: Lane,
): [object, Bucket<Row>] {
  const numberOf = ([, bucket]: [object, Bucket<Row>]) => bucket[lane].first?.number ?? Number.POSITIVE_INFINITY;
  return one && numberOf(one) <= numberOf(other) ? one : other;
}

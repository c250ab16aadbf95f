import type { BatchCurvePoint, EffectiveBatching, Lane } from '@onqueue/shared';
import { BatchTime } from './batch-time.ts';
import { BulkShare } from './bulk-share.ts';
import { LatencyTarget } from './latency-target.ts';
import type { LengthBuckets } from './length-buckets.ts';
import { RowQueue } from './row-queue.ts';

/** What a row has to say to be put into a batch. */
export interface BatchableRow {
  lane: Lane;
  /** The same for the rows of a job that is computed apart. */
  apart: object | undefined;
  /** The sizes that vary, where the rows of the model have such. */
  lengths: readonly number[] | undefined;
  submittedAtMs: number;
  /** Its batch is started as soon as there is room for it, however little company it has. */
  isUrgent?: boolean | undefined;
}

export interface FormedBatch<Row> {
  rows: readonly Row[];
  isBulkOnly: boolean;
  /** Of rows of varying length: elements that are the rows' own, and those that fill them up. */
  elements: { own: number; padding: number } | undefined;
  /** What such batches take is learned here. */
  time: BatchTime;
}

/** Rows that may share a batch, and so wait together. */
class Bucket<Row> {
  readonly interactive = new RowQueue<Queued<Row>>();
  readonly bulk = new RowQueue<Queued<Row>>();
  readonly isApart: boolean;
  readonly time: BatchTime;
  /** No row that waits is longer. */
  longest: number[] = [];
  /** Whether an urgent row has come since the bucket was empty. */
  isUrgent = false;

  constructor({ isApart, time }: { isApart: boolean; time: BatchTime }) {
    this.isApart = isApart;
    this.time = time;
  }

  get length(): number {
    return this.interactive.length + this.bulk.length;
  }

  push(lane: Lane, queued: Queued<Row>, lengths: readonly number[] | undefined): void {
    if (lengths) {
      if (this.length === 0) this.longest = [];
      this.longest = lengths.map((length, index) => Math.max(length, this.longest[index] ?? 0));
    }
    this[lane].push(queued);
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
 * Rows wait in buckets: those of about one length ({@link LengthBuckets}), and those of a job that is computed apart. A bucket is ready when it is full or its oldest row
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
  readonly #lengths: LengthBuckets | undefined;
  #curve: readonly BatchCurvePoint[] = [];
  /** Those of jobs that are not apart, by their length; 0 where rows have none. */
  readonly #buckets = new Map<number, Bucket<Row>>();
  /** Those that have rows. */
  readonly #waiting = new Set<Bucket<Row>>();
  /** Those of jobs that are apart, while they have rows. */
  readonly #apart = new Map<object, Map<number, Bucket<Row>>>();
  #arrivals = 0;
  #length = 0;

  constructor(policy: EffectiveBatching, lengths?: LengthBuckets) {
    this.#policy = policy;
    this.#lengths = lengths;
    this.maxBatchSize = policy.maxBatchSize;
    this.#share = new BulkShare(policy.bulkMinShare);
    this.#target = policy.targetP99Ms === undefined ? undefined : new LatencyTarget(policy.targetP99Ms);
  }

  /** Rows that wait. */
  get length(): number {
    return this.#length;
  }

  push(row: Row): void {
    const bucket = this.#bucketFor(row);
    bucket.push(row.lane, { row, number: this.#arrivals++ }, row.lengths);
    if (row.isUrgent) bucket.isUrgent = true;
    this.#waiting.add(bucket);
    this.#length += 1;
  }

  #bucketFor({ apart, lengths }: Row): Bucket<Row> {
    const key = this.#lengths && lengths ? this.#lengths.bucketOf(lengths) : 0;
    let common = this.#buckets.get(key);
    if (!common) {
      common = new Bucket<Row>({ isApart: false, time: new BatchTime() });
      common.time.adopt(this.#curve);
      this.#buckets.set(key, common);
    }
    if (!apart) return common;
    const ofJob = this.#apart.get(apart) ?? new Map<number, Bucket<Row>>();
    this.#apart.set(apart, ofJob);
    const own = ofJob.get(key) ?? new Bucket<Row>({ isApart: true, time: common.time });
    ofJob.set(key, own);
    return own;
  }

  #leave(bucket: Bucket<Row>): void {
    if (bucket.length > 0) return;
    bucket.isUrgent = false;
    this.#waiting.delete(bucket);
    if (!bucket.isApart) return;
    for (const [apart, ofJob] of this.#apart) {
      if ([...ofJob.values()].every(({ length }) => length === 0)) this.#apart.delete(apart);
    }
  }

  /** Takes rows that are no longer to wait, wherever they are. */
  drop(isDropped: (row: Row) => boolean): Row[] {
    const dropped: Row[] = [];
    for (const bucket of this.#waiting) {
      for (const lane of [bucket.interactive, bucket.bulk]) {
        for (const { row } of lane.drop((queued) => isDropped(queued.row))) dropped.push(row);
      }
      this.#leave(bucket);
    }
    this.#length -= dropped.length;
    return dropped;
  }

  /** There is a new measurement of how long batches take. */
  adopt({ max_batch_size, curve }: { max_batch_size: number; curve: readonly BatchCurvePoint[] }): void {
    this.maxBatchSize = max_batch_size;
    this.#curve = curve;
    for (const { time } of this.#buckets.values()) time.adopt(curve);
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
    const lead = isAhead ? this.#fullLead(nowMs) : this.#lead(nowMs, mayBeBulkOnly);
    return typeof lead === 'number' ? lead : this.#take(lead, mayBeBulkOnly);
  }

  /** The bucket whose turn it is. */
  #lead(nowMs: number, mayBeBulkOnly: boolean): Bucket<Row> | number {
    let interactive: Bucket<Row> | undefined;
    let bulk: Bucket<Row> | undefined;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const bucket of this.#waiting) {
      const readyAtMs = this.#readyAtMs(bucket);
      if (readyAtMs > nowMs) nextMs = Math.min(nextMs, readyAtMs);
      else if (bucket.interactive.first) interactive = older(interactive, bucket, 'interactive');
      else if (mayBeBulkOnly) bulk = older(bulk, bucket, 'bulk');
    }
    if (interactive && bulk && this.#isBulkDue(bulk)) return bulk;
    return interactive ?? bulk ?? nextMs;
  }

  /** The same, if it could not get any better by waiting: else whoever goes first would be overtaken by full ones for ever. */
  #fullLead(nowMs: number): Bucket<Row> | number {
    const lead = this.#lead(nowMs, true);
    if (typeof lead === 'number' || lead.isApart || !lead.interactive.first) return Number.POSITIVE_INFINITY;
    return lead.length >= this.#fullSize(lead) ? lead : Number.POSITIVE_INFINITY;
  }

  /** Whether bulk rows that no interactive row can share a batch with are owed as many places as they would take. */
  #isBulkDue(bucket: Bucket<Row>): boolean {
    return bucket === this.#longestBulk && this.#share.owedRows >= this.#cutOf(bucket).bulk;
  }

  /** Where the bulk row is that has waited longest. */
  get #longestBulk(): Bucket<Row> | undefined {
    let longest: Bucket<Row> | undefined;
    for (const bucket of this.#waiting) {
      const number = bucket.bulk.first?.number;
      if (number !== undefined && number <= (longest?.bulk.first?.number ?? number)) longest = bucket;
    }
    return longest;
  }

  #readyAtMs(bucket: Bucket<Row>): number {
    const { maxQueueDelayMs } = this.#policy;
    const hasDelay = maxQueueDelayMs > 0 || this.#target;
    if (!hasDelay || bucket.isApart || bucket.isUrgent || bucket.length >= this.#fullSize(bucket)) return 0;
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
  #maxRows({ time, longest }: Bucket<Row>): number {
    const maxBatchSize = Math.min(this.maxBatchSize, this.#lengths?.rowsWithin(longest) ?? this.maxBatchSize);
    return this.#target ? time.rowsWithin(this.#target.targetMs / 2, maxBatchSize) : maxBatchSize;
  }

  /** Rows of a batch without interactive ones. */
  #sliceRows(bucket: Bucket<Row>): number {
    return bucket.time.rowsWithin(this.#policy.bulkSliceMs, this.#maxRows(bucket));
  }

  #take(bucket: Bucket<Row>, mayBeBulkOnly: boolean): FormedBatch<Row> {
    const longestBulk = this.#longestBulk;
    const cut = this.#cutOf(bucket, bucket === longestBulk ? this.#owedRows(bucket, mayBeBulkOnly) : 0);
    const queued = [...bucket.interactive.take(cut.interactive), ...bucket.bulk.take(cut.bulk)];
    this.#leave(bucket);
    this.#length -= queued.length;
    this.#share.formed({
      rows: queued.length,
      bulkRows: bucket === longestBulk ? cut.bulk : 0,
      isBulkLeft: this.#longestBulk !== undefined,
      maxBatchSize: this.maxBatchSize,
    });
    const rows = queued.map(({ row }) => row);
    return { rows, isBulkOnly: cut.interactive === 0, elements: this.#elementsOf(rows), time: bucket.time };
  }

  #elementsOf(rows: readonly Row[]): FormedBatch<Row>['elements'] {
    if (!this.#lengths) return undefined;
    let own = 0;
    let longest: number[] = [];
    for (const { lengths = [] } of rows) {
      own += this.#lengths.elementsOf(lengths);
      longest = lengths.map((length, index) => Math.max(length, longest[index] ?? 0));
    }
    return { own, padding: rows.length * this.#lengths.elementsOf(longest) - own };
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

function older<Row>(one: Bucket<Row> | undefined, other: Bucket<Row>, lane: Lane): Bucket<Row> {
  const numberOf = (bucket: Bucket<Row>) => bucket[lane].first?.number ?? Number.POSITIVE_INFINITY;
  return one && numberOf(one) <= numberOf(other) ? one : other;
}

/**
 * Keeps bulk alive when interactive rows alone would fill every batch: while bulk rows wait, so large a share of all rows is
 * theirs. What they do not get is owed to them, and what they get beyond it, in places that were free, is no credit.
 */
export class BulkShare {
  readonly #share: number;
  #owed = 0;

  constructor(share: number) {
    this.#share = share;
  }

  /** Whole rows. */
  get owedRows(): number {
    // A tenth ten times over is a little less than one.
    return Math.floor(this.#owed + 1e-9);
  }

  /**
   * A batch was formed. `bulkRows` of it repay what was owed; no more than two batches are ever owed, since a debt of an
   * hour must not be an hour without interactive rows. (One is too little: a batch of bulk alone waits until it is owed, and the
   * rows of the batch before count as well.)
   */
  formed({ rows, bulkRows, isBulkLeft, maxBatchSize }: FormedBatch): void {
    this.#owed = isBulkLeft ? Math.min(2 * maxBatchSize, Math.max(0, this.#owed + rows * this.#share - bulkRows)) : 0;
  }
}

interface FormedBatch {
  rows: number;
  /** Of those that wait longest. */
  bulkRows: number;
  /** Whether more bulk rows wait. */
  isBulkLeft: boolean;
  maxBatchSize: number;
}

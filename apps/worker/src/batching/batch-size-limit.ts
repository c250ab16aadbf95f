/** Batches at the limit that fit, after which twice as many rows are tried: an engine that is short of memory fails fast. */
const FITTING_BATCHES = 100;

/**
 * How many rows of a version fit into memory, learned from batches that did not. What is short today (another process, some
 * uncommonly large rows) may not be tomorrow, so now and then more is tried, until batches of the old size fit again.
 */
export class BatchSizeLimit {
  #rows = Number.POSITIVE_INFINITY;
  /** The size that failed first, from which the limit came down. */
  #failedRows = Number.POSITIVE_INFINITY;
  #fittingBatches = 0;
  readonly #onChange: (rows: number | undefined) => void;

  constructor({ onChange = () => undefined }: { onChange?: (rows: number | undefined) => void } = {}) {
    this.#onChange = onChange;
  }

  /** Undefined: any size, as far as is known. */
  get rows(): number | undefined {
    return Number.isFinite(this.#rows) ? this.#rows : undefined;
  }

  /** Cuts a batch into parts of at most the limit. */
  parts<Row>(rows: readonly Row[]): (readonly Row[])[] {
    if (rows.length <= this.#rows) return [rows];
    const limit = this.#rows;
    return Array.from({ length: Math.ceil(rows.length / limit) }, (_, part) =>
      rows.slice(part * limit, (part + 1) * limit),
    );
  }

  /** A batch of `failedRows` did not fit, and one of `rows` did. */
  lower(rows: number, failedRows: number): void {
    if (rows >= this.#rows) return;
    if (!Number.isFinite(this.#rows)) this.#failedRows = failedRows;
    this.#set(rows);
  }

  /** A batch of so many rows fitted. */
  fitted(rows: number): void {
    if (rows < this.#rows || ++this.#fittingBatches < FITTING_BATCHES) return;
    this.#set(this.#rows >= this.#failedRows ? Number.POSITIVE_INFINITY : this.#rows * 2);
  }

  #set(rows: number): void {
    this.#rows = rows;
    this.#fittingBatches = 0;
    this.#onChange(this.rows);
  }
}

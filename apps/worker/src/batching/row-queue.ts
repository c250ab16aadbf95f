/** First in, first out. What waits is not moved when rows are taken: a bulk job brings thousands, and batches are small. */
export class RowQueue<Row> {
  #rows: Row[] = [];
  #taken = 0;

  get length(): number {
    return this.#rows.length - this.#taken;
  }

  get first(): Row | undefined {
    return this.#rows[this.#taken];
  }

  at(index: number): Row | undefined {
    return this.#rows[this.#taken + index];
  }

  push(row: Row): void {
    this.#rows.push(row);
  }

  take(count: number): Row[] {
    const rows = this.#rows.slice(this.#taken, this.#taken + count);
    this.#taken += rows.length;
    if (this.#taken * 2 > this.#rows.length) {
      this.#rows = this.#rows.slice(this.#taken);
      this.#taken = 0;
    }
    return rows;
  }

  /** Takes those that are no longer to wait, wherever they are. */
  drop(isDropped: (row: Row) => boolean): Row[] {
    const waiting = this.#rows.slice(this.#taken);
    const dropped = waiting.filter(isDropped);
    if (dropped.length > 0) {
      this.#rows = waiting.filter((row) => !isDropped(row));
      this.#taken = 0;
    }
    return dropped;
  }
}

/** Room for so many bytes, given out in the order in which it was asked for. One that wants more than there is comes alone. */
export class ByteRoom {
  readonly #maxBytes: number;
  readonly #waiting: { bytes: number; enter: () => void }[] = [];
  #taken = 0;
  #inside = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Runs the work when there is room, which it has until it ends. */
  async within<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    await this.#enter(bytes);
    try {
      return await work();
    } finally {
      this.#taken -= bytes;
      this.#inside -= 1;
      this.#letIn();
    }
  }

  #enter(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, enter: resolve });
      this.#letIn();
    });
  }

  #letIn(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (!first || (this.#inside > 0 && this.#taken + first.bytes > this.#maxBytes)) return;
      this.#waiting.shift();
      this.#taken += first.bytes;
      this.#inside += 1;
      first.enter();
    }
  }
}

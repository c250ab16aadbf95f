/**
 * What has to be closed when a bench ends, however it ends: last opened, first closed. Whatever is added after the end
 * (a start that was under way when Ctrl-C came) is closed at once.
 */
export class Cleanup {
  readonly #closers = new Set<() => Promise<unknown>>();
  #isOver = false;

  /** Returns the function that closes the one thing now; calling it again changes nothing. */
  add(close: () => Promise<unknown>): () => Promise<void> {
    let closing: Promise<unknown> | undefined;
    const once = async () => {
      this.#closers.delete(once);
      closing ??= close();
      await closing;
    };
    this.#closers.add(once);
    if (this.#isOver) void once().catch(() => undefined);
    return once;
  }

  /** Closes everything. What cannot be closed does not keep the rest open; its error is thrown at the end. */
  async run(): Promise<void> {
    this.#isOver = true;
    const errors: unknown[] = [];
    for (const close of [...this.#closers].reverse()) await close().catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw errors[0];
  }
}

/** Turns chunks of output into lines and keeps the newest of them, so that an error can show what was said last. */
export class LogBuffer {
  readonly #maxLines: number;
  readonly #onLine: ((line: string) => void) | undefined;
  #lines: string[] = [];
  #partial = '';

  constructor(options: { maxLines?: number; onLine?: (line: string) => void } = {}) {
    this.#maxLines = options.maxLines ?? 2000;
    this.#onLine = options.onLine;
  }

  append(chunk: string): void {
    const lines = (this.#partial + chunk).split('\n');
    this.#partial = lines.pop() ?? '';
    // A process that never ends its line must not grow ours without bound.
    if (this.#partial.length > MAX_LINE_LENGTH) lines.push(this.#partial.slice(0, MAX_LINE_LENGTH));
    if (this.#partial.length > MAX_LINE_LENGTH) this.#partial = '';
    for (const line of lines) this.#keep(line);
  }

  /** The source has ended: what came without a line break counts as a line. */
  end(): void {
    if (this.#partial !== '') this.#keep(this.#partial);
    this.#partial = '';
  }

  lines(): string[] {
    return this.#lines.slice(-this.#maxLines);
  }

  /** The last lines that are not blank. */
  tail(count: number): string[] {
    return this.#lines.filter((line) => line.trim() !== '').slice(-count);
  }

  #keep(line: string): void {
    this.#lines.push(line);
    // Cut rarely, so that keeping a line stays cheap.
    if (this.#lines.length > 2 * this.#maxLines) this.#lines = this.#lines.slice(-this.#maxLines);
    this.#onLine?.(line);
  }
}

const MAX_LINE_LENGTH = 64 * 1024;

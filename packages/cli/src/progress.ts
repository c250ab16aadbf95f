/** One line at the end of a terminal that is written over. */
export interface Progress {
  show(text: string): void;
  clear(): void;
}

const CLEAR_LINE = '\r\u001b[2K';

export function showProgress(terminal: { write(text: string): unknown; columns?: number }): Progress {
  let isShown = false;
  return {
    show(text) {
      // A line that wraps could not be written over.
      terminal.write(CLEAR_LINE + text.slice(0, (terminal.columns ?? 80) - 1));
      isShown = true;
    },
    clear() {
      if (isShown) terminal.write(CLEAR_LINE);
      isShown = false;
    },
  };
}

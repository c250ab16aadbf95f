/** How a command ends; the same numbers for all of them, told in docs/cli.md. */
export const EXIT = {
  done: 0,
  /** It was understood, and did not work out: the model is broken, a row differs, a file cannot be read. */
  failed: 1,
  /** It was not understood: an unknown command or option, a value that is none. */
  usage: 2,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * Ends a command with a sentence for the person who gave it, or an empty one when the answer has said it all; everything else
 * that is thrown is a bug.
 */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: ExitCode;

  constructor(message: string, options: { exitCode?: ExitCode; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}

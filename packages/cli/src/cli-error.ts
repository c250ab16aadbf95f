/** How a command ends; the same numbers for all of them, told in docs/cli.md. */
export const EXIT = {
  done: 0,
  /** It was understood, and did not work out: the model is broken, a row differs, a file cannot be read. */
  failed: 1,
  /** It was not understood: an unknown command or option, a value that is none. */
  usage: 2,
  /** It worked out, and the job has not succeeded: it failed, was canceled, or expired. */
  jobNotSucceeded: 3,
  /** The time that was given for waiting is over; the job goes on. */
  timedOut: 4,
  /** The API cannot be reached, or cannot do it now: the same command may work later. */
  unavailable: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * Ends a command with a sentence for the person who gave it, or an empty one when the answer has said it all; everything else
 * that is thrown is a bug.
 */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: ExitCode;
  /** What `--json` says beside the message. */
  readonly details: object;

  constructor(message: string, options: { exitCode?: ExitCode; cause?: unknown; details?: object } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options.exitCode ?? EXIT.failed;
    this.details = options.details ?? {};
  }
}

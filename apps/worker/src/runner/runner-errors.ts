import { RowFailure } from '@onqueue/shared';

/**
 * How a runner ended. `stopped`: it was asked to; `unsound`: killed because it failed on a golden row; `silent`: killed
 * because it answered no ping; `memory`: killed because it took too much. `output`: the last that it wrote to stdout and stderr.
 */
export type RunnerExit = {
  cause: 'stopped' | 'timeout' | 'aborted' | 'unsound' | 'silent' | 'memory' | 'crash';
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
};

export function howItEnded({ code, signal }: Pick<RunnerExit, 'code' | 'signal'>): string {
  return signal ? `The runner was killed by ${signal}.` : `The runner exited with code ${code}.`;
}

/** The runner died while it held the batch. Any of the batch's rows may be the reason, or none. */
export class RunnerCrashedError extends RowFailure {
  override readonly name = 'RunnerCrashedError';
  readonly exit: RunnerExit;

  constructor(exit: RunnerExit) {
    super('runner_crashed', howItEnded(exit));
    this.exit = exit;
  }
}

/** The batch did not come back in time; its runner was killed, since nothing else stops an inference. */
export class RunnerTimeoutError extends RowFailure {
  override readonly name = 'RunnerTimeoutError';

  constructor(timeoutMs: number) {
    super('runner_timeout', `The batch did not come back within ${timeoutMs} ms.`);
  }
}

/** The batch waited behind another in a runner, and was taken back or lost with it: it has not begun, and may run elsewhere. */
export class RunnerRecalledError extends Error {
  override readonly name = 'RunnerRecalledError';

  constructor() {
    super('The batch was taken back before its turn came.');
  }
}

/** Nobody wants the batch any more; if its turn had come its runner was killed, since nothing else stops an inference. */
export class RunnerAbortedError extends RowFailure {
  override readonly name = 'RunnerAbortedError';

  constructor() {
    super('canceled', 'The run of the job ended before its batch did.');
  }
}

/** The engine refused the batch as a whole; the runner lives. Halve the batch to find the row. */
export class RunnerBatchError extends RowFailure {
  override readonly name = 'RunnerBatchError';

  constructor(code: 'inference_failed' | 'out_of_memory', detail: string) {
    super(code, detail);
  }
}

/** A runner did not become ready. `reason` tells a model that cannot be served from a process that did not survive. */
export class RunnerStartError extends RowFailure {
  override readonly name = 'RunnerStartError';
  readonly reason: 'load_failed' | 'timeout' | 'crash';

  constructor(reason: 'load_failed' | 'timeout' | 'crash', detail: string) {
    super('model_unavailable', detail);
    this.reason = reason;
  }
}

import { type ClaimedJob, type Clock, type JobOutcome, type JobProgressLog, rowsOf } from '@onqueue/shared';

/** How a handler tells how many of its rows have ended. It may say so as often as it likes. */
export type ReportProgress = (rowsDone: number) => void;

export interface ProgressReporterOptions {
  log: JobProgressLog;
  clock: Clock;
  /** Between two of a job, and before the first. */
  everyMs: number;
  /** It could not be told; the job goes on. */
  onError: (error: Error) => void;
}

/**
 * Tells how far jobs are, as their handlers report it: the newest at most once in `everyMs`, first so long after the job was
 * taken. A job that is done by then costs nothing. Nothing is told once the handler has ended: the end says it all.
 */
export class ProgressReporter {
  readonly #options: ProgressReporterOptions;

  constructor(options: ProgressReporterOptions) {
    this.#options = options;
  }

  async follow(job: ClaimedJob, work: (report: ReportProgress) => Promise<JobOutcome>): Promise<JobOutcome> {
    const { clock, everyMs } = this.#options;
    const total = job.kept?.total ?? rowsOf(job);
    const before = total - rowsOf(job);
    let toldAtMs = clock.now();
    let done = 0;
    let timer: { cancel(): void } | undefined;
    let isOver = false;
    const tell = () => {
      timer = undefined;
      toldAtMs = clock.now();
      this.#note(job, { rows: { done: before + done, total } });
    };
    try {
      return await work((rowsDone) => {
        // A part that is computed again, or by a fallback, takes nothing back.
        if (isOver || rowsDone <= done) return;
        done = rowsDone;
        timer ??= clock.setTimeout(tell, Math.max(0, toldAtMs + everyMs - clock.now()));
      });
    } finally {
      isOver = true;
      timer?.cancel();
    }
  }

  #note(job: ClaimedJob, progress: Parameters<JobProgressLog['note']>[1]): void {
    const { log, everyMs, onError } = this.#options;
    // A little less: the clock of Redis and ours need not agree to the millisecond.
    log.note(job, progress, everyMs * 0.9).catch(onError);
  }
}

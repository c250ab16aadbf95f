import { Problem } from '@onqueue/shared';

/** The streams of events that this process holds open: so many and no more, and none once it shuts down. */
export class EventReaders {
  readonly #max: number;
  readonly #open = new Set<AbortController>();
  #isDraining = false;

  constructor({ max }: { max: number }) {
    this.#max = max;
  }

  get count(): number {
    return this.#open.size;
  }

  /** A place for one more; its signal aborts when the server shuts down, at once if it does so already. @throws Problem too_many_readers */
  enter(): { signal: AbortSignal; leave: () => void } {
    if (this.#open.size >= this.#max) {
      throw new Problem('too_many_readers', 'This server holds as many streams of events as it may. Poll the job.', {
        retryAfterS: 1,
      });
    }
    const controller = new AbortController();
    this.#open.add(controller);
    // A refusal would end an EventSource for good; a stream that ends has it come back, to another process.
    if (this.#isDraining) controller.abort();
    return { signal: controller.signal, leave: () => this.#open.delete(controller) };
  }

  /** Ends all of them: their readers go on at another process, behind the last event that they have. */
  releaseAll(): void {
    this.#isDraining = true;
    for (const controller of this.#open) controller.abort();
  }
}

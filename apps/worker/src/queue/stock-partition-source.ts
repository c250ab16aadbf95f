import type { PartitionSource, ServedQueue } from './job-source.ts';
import { StockJobSource, type StockJobSourceOptions } from './stock-job-source.ts';

/** What the queues of a partition have in common. */
export type StockPartitionSourceOptions = Omit<StockJobSourceOptions, keyof ServedQueue>;

/** A stock source for each queue. */
export class StockPartitionSource implements PartitionSource {
  readonly #options: StockPartitionSourceOptions;
  #sources: { queue: ServedQueue; source: StockJobSource }[] = [];
  #isStarted = false;
  #isDraining = false;

  constructor(options: StockPartitionSourceOptions) {
    this.#options = options;
  }

  start(): void {
    this.#isStarted = true;
    for (const { source } of this.#sources) source.start();
  }

  add(queues: readonly ServedQueue[]): void {
    if (this.#isDraining) return;
    for (const queue of queues) {
      const source = new StockJobSource({ ...this.#options, ...queue });
      this.#sources.push({ queue, source });
      if (this.#isStarted) source.start();
    }
  }

  async remove(model: string): Promise<void> {
    const leaving = this.#sources.filter(({ queue }) => queue.model === model);
    await Promise.all(leaving.map(({ source }) => source.drain()));
    this.#sources = this.#sources.filter(({ queue }) => queue.model !== model);
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    await Promise.all(this.#sources.map(({ source }) => source.drain()));
  }
}

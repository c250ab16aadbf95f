import type { PartitionSource, ServedQueue } from './job-source.ts';

export interface ModelQueuesOptions {
  partitionOf: (model: string) => number;
  /** Undefined when the worker ends before it is settled of which kind it is. */
  openPartition: (partition: number) => Promise<PartitionSource | undefined>;
  queuesOf: (model: string) => ServedQueue[];
  /** Whether jobs of the model wait or are in hand, wherever. */
  hasJobs: (model: string) => Promise<boolean>;
}

/**
 * From which models' queues this worker claims. A model: closed ── serve() names it ──> open ── serve() does not name it, and its
 * queues are empty ──> closed. Those that came too late for the last version of a model are thus still taken, and told so.
 */
export class ModelQueues {
  readonly #options: ModelQueuesOptions;
  readonly #sources = new Map<number, PartitionSource>();
  readonly #open = new Set<string>();
  #turn: Promise<void> = Promise.resolve();
  #wanted: readonly string[] = [];
  #isDraining = false;

  constructor(options: ModelQueuesOptions) {
    this.#options = options;
  }

  /** Claims jobs of these models, and soon of no others. Resolves when that is so; rejects when it could not be done. */
  serve(models: readonly string[]): Promise<void> {
    this.#wanted = models;
    const served = this.#turn.then(() => this.#serve());
    this.#turn = served.catch(() => undefined);
    return served;
  }

  /** Claims nothing more, and resolves when everything that was claimed has been committed. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    const drained = [...this.#sources.values()].map((source) => source.drain());
    await this.#turn;
    await Promise.all([...drained, ...[...this.#sources.values()].map((source) => source.drain())]);
  }

  async #serve(): Promise<void> {
    const { partitionOf, queuesOf, hasJobs } = this.#options;
    for (const model of this.#wanted) {
      if (this.#open.has(model)) continue;
      const source = await this.#sourceOf(partitionOf(model));
      if (!source || this.#isDraining) return;
      this.#open.add(model);
      source.add(queuesOf(model));
    }
    for (const model of this.#open) {
      if (this.#isDraining) return;
      if (this.#wanted.includes(model) || (await hasJobs(model))) continue;
      this.#open.delete(model);
      await this.#sources.get(partitionOf(model))?.remove(model);
    }
  }

  async #sourceOf(partition: number): Promise<PartitionSource | undefined> {
    const known = this.#sources.get(partition);
    if (known) return known;
    const source = await this.#options.openPartition(partition);
    if (!source) return undefined;
    this.#sources.set(partition, source);
    // Told to stop meanwhile: whoever drains waits for this.
    if (!this.#isDraining) source.start();
    return source;
  }
}

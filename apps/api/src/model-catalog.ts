import { type Clock, type ModelRegistry, Problem, type PublishedModel, rowSchema, systemClock } from '@onqueue/shared';
import type { z } from 'zod';

/** How long an answer of the registry is believed. */
const FRESH_MS = 1000;
/** The published models, as the API last saw them, with a compiled row schema per version. */
export class ModelCatalog {
  readonly #registry: ModelRegistry;
  readonly #clock: Clock;
  readonly #rowSchemas = new Map<string, z.ZodType<Record<string, unknown>>>();
  #models: PublishedModel[] = [];
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<PublishedModel[]> | undefined;
  #next: Promise<PublishedModel[]> | undefined;

  constructor({ registry, clock = systemClock }: { registry: ModelRegistry; clock?: Clock }) {
    this.#registry = registry;
    this.#clock = clock;
  }

  /** Every published version. @throws Problem storage_unavailable */
  list(): Promise<PublishedModel[]> {
    if (this.#clock.now() - this.#readAtMs < FRESH_MS) return Promise.resolve(this.#models);
    return this.#reading ?? this.#read();
  }

  /**
   * The versions of one model; empty when it is unknown. A model or a pinned version that is not among those seen last is
   * asked for anew, since its worker may have come a moment ago.
   */
  async versionsOf(name: string, pinned?: string): Promise<PublishedModel[]> {
    const ofName = (models: PublishedModel[]) => models.filter(({ descriptor }) => descriptor.name === name);
    const known = ofName(await this.list());
    const isKnown =
      pinned === undefined ? known.length > 0 : known.some(({ descriptor }) => descriptor.version === pinned);
    return isKnown ? known : ofName(await this.#readAnew());
  }

  /**
   * For a model or a version that is not among those that take jobs: nothing when it never was.
   * @throws Problem version_gone
   */
  async assertNotGone(name: string, version?: string): Promise<void> {
    const { versions } = await this.#registry.versions(name);
    const gone = versions.filter((known) => !known.descriptor && (version ?? known.version) === known.version);
    const newest = gone.find(({ retirement }) => retirement);
    if (!newest?.retirement) return;
    const which =
      version === undefined ? `Every version of model "${name}" is gone; of the newest:` : `Version ${version}:`;
    throw new Problem('version_gone', `${which} ${newest.retirement.reason}`);
  }

  rowSchemaOf({ descriptor }: Pick<PublishedModel, 'descriptor'>): z.ZodType<Record<string, unknown>> {
    // The preprocessing hash covers the declaration of a row.
    const key = descriptor.preprocess_sha256;
    let schema = this.#rowSchemas.get(key);
    if (!schema) {
      schema = rowSchema(descriptor);
      this.#rowSchemas.set(key, schema);
    }
    return schema;
  }

  /** A read that begins after now; a flood of unknown names shares them, and has one under way at a time. */
  #readAnew(): Promise<PublishedModel[]> {
    if (!this.#reading) return this.#read();
    this.#next ??= this.#reading
      .catch(() => {
        // Whoever waits for that one is told; ours is the one after it.
      })
      .then(() => {
        this.#next = undefined;
        return this.#read();
      });
    return this.#next;
  }

  #read(): Promise<PublishedModel[]> {
    this.#reading ??= this.#registry
      .list()
      .then((models) => {
        this.#models = models;
        this.#readAtMs = this.#clock.now();
        return models;
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }
}

import type {
  Clock,
  FleetNews,
  ModelDescriptor,
  ModelRegistry,
  Retirement,
  VersionBeat,
  VersionName,
  VersionReport,
} from '@onqueue/shared';
import type { OutageLog } from './outage-log.ts';

export interface FleetReporterOptions {
  worker: string;
  registry: Pick<ModelRegistry, 'beat' | 'publish' | 'retire'>;
  clock: Clock;
  outages: Pick<OutageLog, 'warn'>;
  versions: () => VersionBeat[];
  reports: () => VersionReport[];
  /** Of the versions that this worker takes jobs for. */
  descriptors: () => ModelDescriptor[];
  onNews: (news: FleetNews) => void;
}

/** How often a worker says which versions it serves, and for how long it is believed. */
const BEAT_MS = 2000;
const BEAT_TTL_MS = 7000;
/** How long a worker that ends tries to say so. */
const SAY_GONE_MS = 1000;

/**
 * Tells the fleet what this worker serves, and hears what the fleet wants of it.
 *
 * silent ── start() ──> telling ── end() ──> gone. What Redis did not take (it is full, or away) is told at the next beat.
 */
export class FleetReporter {
  readonly #options: FleetReporterOptions;
  readonly #published = new Map<string, ModelDescriptor>();
  readonly #retiring = new Map<string, VersionName & Omit<Retirement, 'at_ms'>>();
  #retired: FleetNews['retired'] = [];
  #beat: NodeJS.Timeout | undefined;
  #telling: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #isOver = false;

  constructor(options: FleetReporterOptions) {
    this.#options = options;
  }

  /** Whether Redis has lately heard which versions it serves. */
  get isTold(): boolean {
    return this.#options.clock.now() - this.#toldAtMs < BEAT_TTL_MS;
  }

  start(): Promise<void> {
    this.#beat = setInterval(() => void this.tell(), BEAT_MS);
    return this.tell();
  }

  /** Told at once, not before `start()`: until the API knows, it accepts jobs that can only wait, or refuses those that could be computed. */
  changed(): void {
    if (this.#beat) void this.tell();
  }

  /** No jobs are to be accepted for it any more. */
  retire(version: VersionName, retirement: Omit<Retirement, 'at_ms'>): void {
    const { name, version: of } = version;
    this.#published.delete(keyOf(version));
    this.#retiring.set(keyOf(version), { name, version: of, ...retirement });
    this.changed();
  }

  /** Whether no worker takes jobs of it any more, as Redis says now: it may have been loaded again since the last beat. */
  async isGone({ name, version }: VersionName): Promise<boolean> {
    const isRetired = () => this.#retired.some((other) => other.name === name && other.version === version);
    if (!isRetired()) return false;
    await this.tell();
    return isRetired();
  }

  /** A tell that begins after now; those that come meanwhile share the next one. */
  tell(): Promise<void> {
    if (!this.#telling) {
      this.#telling = this.#tell().finally(() => {
        this.#telling = undefined;
      });
      return this.#telling;
    }
    this.#next ??= this.#telling.then(() => {
      this.#next = undefined;
      return this.tell();
    });
    return this.#next;
  }

  /** A courtesy: what is not said is believed for some seconds more. */
  async end(): Promise<void> {
    const { registry, worker, clock, outages } = this.#options;
    this.#isOver = true;
    clearInterval(this.#beat);
    this.#beat = undefined;
    const said = Promise.resolve(this.#telling)
      .then(() => registry.beat(worker, [], BEAT_TTL_MS))
      .catch((error: Error) => outages.warn(error, 'readiness'));
    const isEnough = new Promise<void>((resolve) => clock.setTimeout(resolve, SAY_GONE_MS));
    await Promise.race([said, isEnough]);
  }

  async #tell(): Promise<void> {
    const { registry, worker, versions, reports, onNews, outages, clock } = this.#options;
    if (this.#isOver) return;
    try {
      // Who reads that a version is ready may post a job for it. What is refused here is tried again below.
      await this.#publishAll().catch(() => undefined);
      const news = await registry.beat(worker, versions(), BEAT_TTL_MS, reports());
      this.#toldAtMs = clock.now();
      this.#retired = news.retired.filter(({ cause }) => cause !== 'failed');
      for (const unpublished of news.unpublished) this.#published.delete(keyOf(unpublished));
      // Whatever comes of it, it is told at the next beat.
      onNews(news);
      await this.#retireAll();
      await this.#publishAll();
    } catch (error) {
      if (!this.#isOver) outages.warn(error as Error, 'readiness could not be told');
    }
  }

  async #publishAll(): Promise<void> {
    for (const descriptor of this.#options.descriptors()) {
      if (this.#published.get(keyOf(descriptor)) === descriptor) continue;
      await this.#options.registry.publish(descriptor);
      this.#published.set(keyOf(descriptor), descriptor);
    }
  }

  async #retireAll(): Promise<void> {
    const { registry, worker, descriptors } = this.#options;
    for (const [key, { name, version, cause, reason }] of this.#retiring) {
      const isOfferedAgain = descriptors().some((descriptor) => keyOf(descriptor) === key);
      if (!isOfferedAgain) await registry.retire(worker, { name, version }, { cause, reason });
      this.#retiring.delete(key);
    }
  }
}

function keyOf({ name, version }: VersionName): string {
  return `${name}/${version}`;
}

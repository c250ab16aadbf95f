import type { Clock, ModelOrder, VersionName, VersionReport, VersionState } from '@onqueue/shared';
import type { ServedModelVersion } from '../served-model.ts';
import type { WatchedVersion } from './repository-watcher.ts';

/** What can be loaded. */
export type WholeVersion = Extract<WatchedVersion, { status: 'whole' }>;

/** What a manager needs of a version that is loaded. */
export type LoadedVersion = Pick<
  ServedModelVersion,
  'descriptor' | 'fallbackReason' | 'instances' | 'isIdle' | 'maxBatchSize' | 'residentBytes' | 'stop'
>;

/**
 * A version in this worker's repository, and where it is in its life there.
 *
 * ```
 *             ┌─ files change ─┐
 * incomplete ─┴─ whole ──> unloaded ── wanted, or a job comes ──> loading ── proved ──> ready ── not wanted ──> draining
 *                             ^                                    │ │                   ^  │                    │  │
 *                             │                                    │ └─ no ──> failed    │  └─ memory is needed  │  │
 *                             │                                    │            │        └──── wanted again ─────┘  │
 *                             ├── not wanted meanwhile ────────────┘            │           │                       │
 *                             └── nothing is in hand any more <─────────────────┼───────────┴───────────────────────┘
 *                                                    files change, or an order ─┴─> loading
 * ```
 *
 * While it is ready its files may change, or it may be given more or fewer runners: then the next one is loaded beside it, and takes
 * its place when it is proved. Who decides all that is the ModelManager; here it is written down.
 */
export class ManagedVersion<Served extends LoadedVersion = LoadedVersion> implements VersionName {
  readonly name: string;
  readonly version: string;
  /** As the repository has it now; undefined: it was removed. */
  watched: WatchedVersion | undefined;
  /** What is loaded, or was tried last. */
  current: WholeVersion | undefined;
  served: Served | undefined;
  /** Whether it has passed its golden rows once: here, or on the worker that published it. */
  isProven = false;
  /** It is being loaded, and this settles, without an error, when that is over. */
  loading: Promise<void> | undefined;
  /** What a load that is under way is taken to need, until it is known. */
  reservedBytes = 0;
  /** Of the last load; a guess before it. */
  knownBytes: number | undefined;
  lastUsedAtMs = Number.NEGATIVE_INFINITY;
  /** The order that was obeyed last. */
  obeyed: ModelOrder | undefined;
  /** The fingerprint of what failed: it is not tried again as it is. */
  failedFingerprint: string | undefined;
  #state: VersionState = 'unloaded';
  #reason: string | undefined;
  #sinceMs: number;
  readonly #clock: Clock;
  readonly #onChange: () => void;

  constructor({ name, version, clock, onChange }: VersionName & { clock: Clock; onChange: () => void }) {
    this.name = name;
    this.version = version;
    this.#clock = clock;
    this.#sinceMs = clock.now();
    this.#onChange = onChange;
  }

  get state(): VersionState {
    return this.#state;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  get stateAgeMs(): number {
    return this.#clock.now() - this.#sinceMs;
  }

  /** The same state for another reason is no change of the time since when. */
  become(state: VersionState, reason?: string): void {
    if (state === this.#state && reason === this.#reason) return;
    if (state !== this.#state) this.#sinceMs = this.#clock.now();
    this.#state = state;
    this.#reason = reason;
    this.#onChange();
  }

  /** The manifest that counts now. */
  get manifest() {
    return this.watched?.status === 'whole' ? this.watched.manifest : this.current?.manifest;
  }

  get isOnDemand(): boolean {
    return this.manifest?.serving?.on_demand === true;
  }

  report(isOffered: boolean): VersionReport {
    const { name, version } = this;
    return { name, version, state: this.#state, reason: this.#reason, ageMs: this.stateAgeMs, isOffered };
  }
}

import type {
  Clock,
  ModelManifest,
  ModelOrder,
  Retirement,
  VersionName,
  VersionPolicy,
  VersionReport,
} from '@onqueue/shared';
import type { HaltSignal } from '../batching/halt-signal.ts';
import { RunnerStartError } from '../runner/runner-errors.ts';
import { LeavingRunners } from './leaving-runners.ts';
import { LoadRetries } from './load-retries.ts';
import { type LoadedVersion, ManagedVersion, type WholeVersion } from './managed-version.ts';
import { MemoryBudget, NoRoomError } from './memory-budget.ts';
import type { RepositorySnapshot } from './repository-watcher.ts';
import { versionIsDrained } from './version-drain.ts';
import { orderFor, type Verdict, verdictsOf } from './wanted-versions.ts';

export interface ModelManagerOptions<Served extends LoadedVersion> {
  /** Starts runners for it and proves them on its golden rows; rejects with why it cannot be served. */
  load: (version: WholeVersion, options: { instances: number }) => Promise<Served>;
  /** Runners of a version that says nothing of it. */
  instances: number;
  /** Of models that have no `policy.json`. */
  policy: VersionPolicy;
  budgetBytes: number;
  /** What a runner of it will need, about. */
  estimateBytes: (version: WholeVersion) => Promise<number>;
  coldStartTimeoutMs: number;
  drainMs: number;
  /** Whether jobs are accepted for exactly this already: then it was proved, on this or another worker. */
  isPublished: (manifest: ModelManifest) => boolean;
  /** Whether jobs of it are in this worker's hands. */
  isBusy: (version: VersionName) => boolean;
  /** Whether a job of the model waits that came more than `ageMs` ago. */
  hasOlder: (model: string, ageMs: number) => Promise<boolean>;
  clock: Clock;
  events: ModelManagerEvents;
}

export interface ModelManagerEvents {
  /** Something about a version is another than before. */
  onChange: (version: ManagedVersion) => void;
  onRetired: (version: VersionName, retirement: Omit<Retirement, 'at_ms'>) => void;
  onLoaded: (version: ManagedVersion, load: { durationMs: number; coldStartMs: number | undefined }) => void;
  onFailed: (version: ManagedVersion, error: Error) => void;
  /** Runners are being stopped, and their memory is freed. */
  onUnloaded: (version: ManagedVersion, cause: UnloadCause) => void;
  /** It is not in the repository any more, and nothing is left of it. */
  onForgotten: (version: VersionName) => void;
}

export type UnloadCause = Retirement['cause'] | 'memory' | 'replaced';

/** A version that was cut to its `min_instances` is not given the others back sooner. */
const RESIZE_PAUSE_MS = 5000;

/**
 * Owns the versions of this worker: what is loaded, what is not, and why (ManagedVersion has the states). Whatever happens, to the
 * repository, to the orders of operators, to a load or to a job that needs a version, is written down, and then one function,
 * `#reconcile`, decides for every version what is to be done. A load or a drain takes its time and ends in another `#reconcile`, so that
 * what was decided meanwhile is not missed.
 */
export class ModelManager<Served extends LoadedVersion> {
  readonly #options: ModelManagerOptions<Served>;
  readonly #versions = new Map<string, ManagedVersion<Served>>();
  readonly #budget: MemoryBudget<Served>;
  readonly #stopping = new AbortController();
  readonly #drains = new Map<ManagedVersion<Served>, AbortController>();
  readonly #leaving: LeavingRunners<Served>;
  readonly #retired = new WeakMap<ManagedVersion<Served>, string>();
  readonly #retries: LoadRetries<ManagedVersion<Served>>;
  /** When the first of the jobs that wait for a version came. */
  readonly #summonedAtMs = new Map<ManagedVersion<Served>, number>();
  readonly #resizedAtMs = new WeakMap<ManagedVersion<Served>, number>();
  #snapshot: RepositorySnapshot = { versions: [], policies: new Map() };
  #orders: readonly ModelOrder[] = [];

  constructor(options: ModelManagerOptions<Served>) {
    this.#options = options;
    this.#retries = new LoadRetries(options);
    this.#leaving = new LeavingRunners({ ...options, signal: this.#stopping.signal });
    this.#budget = new MemoryBudget({
      budgetBytes: options.budgetBytes,
      clock: options.clock,
      versions: () => this.#versions.values(),
      leavingBytes: () => this.#leaving.bytes,
      isBusy: (version) => options.isBusy(version),
      signal: this.#stopping.signal,
      evict: (version) => this.#evict(version),
    });
  }

  /** The repository, as it was found. */
  apply(snapshot: RepositorySnapshot): void {
    this.#snapshot = snapshot;
    this.#reconcile();
  }

  /** All orders of operators that stand. */
  obey(orders: readonly ModelOrder[]): void {
    this.#orders = orders;
    this.#reconcile();
    void this.#budget.trim();
  }

  /** Resolves when nothing is being loaded any more. */
  async settled(): Promise<void> {
    for (;;) {
      const loads = [...this.#versions.values()].flatMap(({ loading }) => loading ?? []);
      if (loads.length === 0) return;
      await Promise.all(loads);
    }
  }

  get versions(): ManagedVersion<Served>[] {
    return [...this.#versions.values()];
  }

  /** Those that are in memory. */
  get served(): Served[] {
    return this.versions.flatMap(({ served }) => served ?? []);
  }

  get residentBytes(): number {
    return this.#budget.usedBytes;
  }

  /** Models of which a version is here for jobs, if need be after it was loaded. */
  get models(): string[] {
    const live = this.versions.filter((version) => version.served !== undefined || this.isOffered(version));
    return [...new Set(live.map(({ name }) => name))];
  }

  reports(): VersionReport[] {
    return this.versions.map((version) => version.report(this.isOffered(version)));
  }

  /** Whether new jobs are accepted for it. */
  isOffered(version: ManagedVersion<Served>): boolean {
    if (this.#retired.has(version)) return false;
    if (version.state === 'ready') return true;
    const isCold = version.state === 'unloaded' || version.state === 'loading';
    return isCold && version.isOnDemand && version.isProven && version.watched !== undefined;
  }

  /** Whether it is here, or will be soon. */
  isAwaited({ name, version }: VersionName): boolean {
    const found = this.#versions.get(keyOf({ name, version }));
    return found !== undefined && (found.served !== undefined || found.loading !== undefined || this.isOffered(found));
  }

  /** The version, if it is in memory: also one that drains, for the jobs that it drains of. */
  get(name: string, version: string): Served | undefined {
    const found = this.#versions.get(keyOf({ name, version }));
    if (!found?.served) return undefined;
    found.lastUsedAtMs = this.#options.clock.now();
    this.#growAgain(found);
    return found.served;
  }

  /** Loads a version that is `on_demand` for a job; undefined when it is none, or did not become ready in time. */
  async summon(name: string, version: string, halt: HaltSignal): Promise<Served | undefined> {
    const found = this.#versions.get(keyOf({ name, version }));
    if (!found || !this.isOffered(found)) return undefined;
    if (!this.#summonedAtMs.has(found)) this.#summonedAtMs.set(found, this.#options.clock.now());
    if (!found.loading) this.#load(found);
    await this.#inTime(found.loading, halt);
    return this.get(name, version);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const drain of this.#drains.values()) drain.abort();
    this.#retries.stop();
    await this.settled();
    const stopped = this.versions.map(({ served }) => served?.stop());
    await Promise.all([...stopped, this.#leaving.stop()]);
  }

  #reconcile(): void {
    if (this.#stopping.signal.aborted) return;
    this.#match();
    const byModel = groupByName(this.#versions.values());
    for (const [name, versions] of byModel) {
      const policy = this.#snapshot.policies.get(name) ?? this.#options.policy;
      const verdicts = verdictsOf(versions, { orders: this.#orders, policy });
      const isComplete = versions.every(
        (version) =>
          !verdicts.get(version)?.isWanted ||
          version.state === 'ready' ||
          version.state === 'failed' ||
          this.isOffered(version),
      );
      for (const version of versions) this.#settle(version, verdicts.get(version), isComplete);
    }
  }

  /** Writes down what the repository has. */
  #match(): void {
    const { clock, events } = this.#options;
    const present = new Map(this.#snapshot.versions.map((watched) => [keyOf(watched), watched]));
    for (const [key, version] of this.#versions) version.watched = present.get(key);
    for (const [key, watched] of present) {
      // What may be in the middle of being copied is nobody's business yet.
      if (this.#versions.has(key) || watched.status === 'settling') continue;
      const version: ManagedVersion<Served> = new ManagedVersion<Served>({
        ...watched,
        clock,
        onChange: () => events.onChange(version),
      });
      version.watched = watched;
      this.#versions.set(key, version);
      events.onChange(version);
    }
  }

  /** What is to be done about a version, as things are now. What is under way is let end first, unless it can be turned. */
  #settle(version: ManagedVersion<Served>, verdict: Verdict | undefined, isComplete: boolean): void {
    const { watched } = version;
    if (version.loading || !verdict) return;
    if (!watched) {
      this.#remove(version);
      return;
    }
    if (watched.status === 'settling') return;
    if (watched.status === 'incomplete') {
      if (version.state === 'ready') version.become('ready', `What was loaded serves on. ${watched.reason}`);
      else if (version.state !== 'draining') version.become('incomplete', watched.reason);
      return;
    }
    if (!verdict.isWanted) {
      // The version before serves until those that are to follow it do; until then it is not known whether it is needed.
      if (verdict.by === 'policy' && !isComplete) return;
      this.#letGo(version, { cause: 'unloaded', reason: verdict.reason });
      return;
    }
    this.#want(version, watched);
  }

  #want(version: ManagedVersion<Served>, watched: WholeVersion): void {
    const order = orderFor(version, this.#orders);
    const isOrdered = order?.want === 'load' && order.atMs !== version.obeyed?.atMs;
    version.obeyed = order;
    if (version.state === 'draining') {
      this.#drains.get(version)?.abort();
      this.#drains.delete(version);
      this.#retired.delete(version);
      version.become('ready');
    }
    const isSame = version.current?.identity === watched.identity;
    if (version.served && isSame) {
      if (version.state === 'ready') version.become('ready');
      return;
    }
    if (version.failedFingerprint === watched.fingerprint && !isOrdered) return;
    if (!version.served && !isSame) version.isProven = this.#options.isPublished(watched.manifest);
    this.#retired.delete(version);
    if (version.served || !version.isOnDemand || !version.isProven || isOrdered) this.#load(version);
    else version.become('unloaded', 'It is on_demand: the next job loads it.');
  }

  #remove(version: ManagedVersion<Served>): void {
    const retirement = { cause: 'removed', reason: 'It was removed from the model repository.' } as const;
    this.#letGo(version, retirement);
    if (version.served) return;
    this.#versions.delete(keyOf(version));
    this.#retries.forget(version);
    this.#options.events.onForgotten(version);
  }

  /** Takes no new jobs, then none, then no memory. */
  #letGo(version: ManagedVersion<Served>, retirement: Omit<Retirement, 'at_ms'>): void {
    const { events } = this.#options;
    // Or before this worker began.
    const isPublished = !this.#retired.has(version) && version.manifest && this.#options.isPublished(version.manifest);
    const wasOffered = this.isOffered(version) || isPublished;
    if (!version.served) version.become('unloaded', retirement.reason);
    else version.become('draining', retirement.reason);
    version.failedFingerprint = undefined;
    if (wasOffered || (this.#retired.has(version) && this.#retired.get(version) !== retirement.reason)) {
      events.onRetired(version, retirement);
    }
    if (wasOffered) this.#retired.set(version, retirement.reason);
    if (version.served && !this.#drains.has(version)) void this.#drain(version, retirement.cause);
  }

  async #drain(version: ManagedVersion<Served>, cause: UnloadCause): Promise<void> {
    const { clock, drainMs, isBusy, hasOlder } = this.#options;
    const abort = new AbortController();
    this.#drains.set(version, abort);
    await versionIsDrained({
      clock,
      maxMs: drainMs,
      isBusy: () => isBusy(version) || version.served?.isIdle === false,
      hasOlder: (ageMs) => hasOlder(version.name, ageMs),
      signal: abort.signal,
    });
    if (this.#drains.get(version) === abort) this.#drains.delete(version);
    if (!abort.signal.aborted) await this.#unload(version, { cause, reason: version.reason });
    this.#reconcile();
  }

  /** Resolves when its runners are gone. */
  async #unload(
    version: ManagedVersion<Served>,
    { cause, reason }: { cause: UnloadCause; reason: string | undefined },
  ) {
    const { served } = version;
    if (!served) return;
    version.served = undefined;
    version.become('unloaded', reason);
    this.#options.events.onUnloaded(version, cause);
    await this.#leaving.end(served);
  }

  async #evict(version: ManagedVersion<Served>): Promise<void> {
    const floor = version.manifest?.serving?.min_instances ?? 0;
    if (floor === 0) {
      const reason = 'Its memory was needed; it is on_demand: the next job loads it.';
      await this.#unload(version, { cause: 'memory', reason });
      return;
    }
    this.#load(version, { instances: floor, isResize: true });
    await version.loading;
    await this.#leaving.gone();
    if (version.served && version.served.instances <= floor) return;
    await this.#unload(version, {
      cause: 'memory',
      reason: 'Its memory was needed, and it could not be made smaller.',
    });
  }

  #instancesOf({ manifest }: ManagedVersion<Served>): number {
    return manifest?.serving?.instances ?? this.#options.instances;
  }

  /** `isResize`: the same with fewer or more runners; it serves on with those that it has when that fails. */
  #load(
    version: ManagedVersion<Served>,
    { instances = this.#instancesOf(version), isResize = false }: { instances?: number; isResize?: boolean } = {},
  ): void {
    const { watched } = version;
    if (watched?.status !== 'whole' || this.#stopping.signal.aborted) return;
    if (!version.served) version.become('loading');
    if (isResize) this.#resizedAtMs.set(version, this.#options.clock.now());
    version.loading = this.#tryLoad(version, watched, { instances, isResize }).finally(() => {
      version.loading = undefined;
      version.reservedBytes = 0;
      this.#reconcile();
      void this.#budget.trim();
    });
  }

  async #tryLoad(
    version: ManagedVersion<Served>,
    whole: WholeVersion,
    { instances, isResize }: { instances: number; isResize: boolean },
  ): Promise<void> {
    const { clock, load, estimateBytes, coldStartTimeoutMs, events } = this.#options;
    const isSummoned = this.#summonedAtMs.has(version);
    try {
      if (!version.served || instances > version.served.instances) {
        const bytes = instances * (version.knownBytes ?? (await estimateBytes(whole)));
        const waitMs = isSummoned ? coldStartTimeoutMs : 0;
        await this.#budget.reserve(version, bytes, { waitMs, mayEvict: !isResize });
      }
      const startedAtMs = clock.now();
      const served = await load(whole, { instances });
      if (this.#stopping.signal.aborted) {
        await served.stop();
        return;
      }
      const summonedAtMs = this.#summonedAtMs.get(version);
      this.#adopt(version, whole, served);
      events.onLoaded(version, {
        durationMs: clock.now() - startedAtMs,
        coldStartMs: summonedAtMs === undefined ? undefined : clock.now() - summonedAtMs,
      });
    } catch (error) {
      if (!isResize && !this.#stopping.signal.aborted) this.#fail(version, whole, error as Error);
    } finally {
      this.#summonedAtMs.delete(version);
    }
  }

  #adopt(version: ManagedVersion<Served>, whole: WholeVersion, served: Served): void {
    const { clock, events } = this.#options;
    const before = version.served;
    version.served = served;
    version.current = whole;
    version.isProven = true;
    version.failedFingerprint = undefined;
    version.knownBytes = served.residentBytes / served.instances;
    version.lastUsedAtMs = clock.now();
    this.#retries.forget(version);
    version.become('ready');
    events.onChange(version);
    if (!before) return;
    events.onUnloaded(version, 'replaced');
    this.#leaving.endWhenIdle(before);
  }

  #fail(version: ManagedVersion<Served>, whole: WholeVersion, error: Error): void {
    const { events } = this.#options;
    const mayPass =
      error instanceof NoRoomError || (error instanceof RunnerStartError && error.reason !== 'load_failed');
    if (version.served) {
      version.failedFingerprint = whole.fingerprint;
      version.become(
        'ready',
        `What was loaded before serves on; what the repository has now cannot be: ${error.message}`,
      );
    } else if (mayPass && version.isOnDemand && version.isProven) {
      // The next job tries it again.
      version.become('unloaded', error.message);
    } else {
      const wasOffered = this.isOffered(version);
      version.failedFingerprint = whole.fingerprint;
      version.become('failed', error.message);
      if (wasOffered) events.onRetired(version, { cause: 'failed', reason: error.message });
      if (mayPass) {
        this.#retries.later(version, () => {
          version.failedFingerprint = undefined;
          this.#reconcile();
        });
      }
    }
    events.onFailed(version, error);
  }

  /** It was cut to its `min_instances` and is used again: it gets the others back if there is room. */
  #growAgain(version: ManagedVersion<Served>): void {
    if (!version.served || version.served.instances >= this.#instancesOf(version)) return;
    const nowMs = this.#options.clock.now();
    const isTooSoon = nowMs - (this.#resizedAtMs.get(version) ?? Number.NEGATIVE_INFINITY) < RESIZE_PAUSE_MS;
    if (version.state !== 'ready' || version.loading || isTooSoon) return;
    this.#load(version, { isResize: true });
  }

  /** Waits for a load, no longer than a job may wait for one. */
  async #inTime(loading: Promise<void> | undefined, halt: HaltSignal): Promise<void> {
    const { clock, coldStartTimeoutMs } = this.#options;
    let timer: { cancel(): void } | undefined;
    const isEnough = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, coldStartTimeoutMs);
      halt.onHalt(resolve);
    });
    await Promise.race([loading, isEnough]);
    halt.onHalt(undefined);
    timer?.cancel();
  }
}

function keyOf({ name, version }: VersionName): string {
  return `${name}/${version}`;
}

function groupByName<Version extends { name: string }>(versions: Iterable<Version>): Map<string, Version[]> {
  const groups = new Map<string, Version[]>();
  for (const version of versions) groups.set(version.name, [...(groups.get(version.name) ?? []), version]);
  return groups;
}

import { type Clock, canonicalSha256, type ModelManifest, type VersionPolicy, versionPolicy } from '@onqueue/shared';
import type { GraphReader } from '../onnx/graph-outline.ts';
import { readWholeVersion } from './model-repository.ts';
import type { ListedVersion, ModelSource, RepositoryListing } from './model-source.ts';

/** A version as the last look found it. */
export type WatchedVersion = { name: string; version: string } & (
  | {
      status: 'whole';
      folder: string;
      manifest: ModelManifest;
      /** Another one when what is served is another: a card that was mended reloads nothing. */
      identity: string;
      /** Another one when any of its files is another: what could not be loaded may be mended. */
      fingerprint: string;
    }
  /** Changed of late, or not seen twice: it may be in the middle of being copied. */
  | { status: 'settling' }
  | { status: 'incomplete'; reason: string }
);

export interface RepositorySnapshot {
  versions: WatchedVersion[];
  policies: ReadonlyMap<string, VersionPolicy>;
}

export interface RepositoryWatcherOptions {
  source: ModelSource;
  /** For exports without a manifest, which only their graph describes. */
  readGraph: GraphReader;
  /** Those that are looked at; empty: all. */
  models: readonly string[];
  /** Between the end of a look and the next one; 0: there is one look. */
  pollMs: number;
  /** Without a change for so long, a version that is not whole is not taken for one that is being copied any more. */
  settleMs: number;
  clock: Clock;
  /** Something may be another than before. */
  onSnapshot: (snapshot: RepositorySnapshot) => void;
  /** The repository, or a policy in it, cannot be read: what was there is taken to be there still. */
  onError: (error: Error) => void;
}

/** What is known of a version between two looks. */
interface Sighting {
  fingerprint: string;
  changedAtMs: number;
  found: WatchedVersion;
  /** What was read stands until the files change again. */
  isRead: boolean;
  /** Looks in a row that did not list it. */
  missed: number;
}

/**
 * Looks at the repository at an interval. It trusts no event of the file system: those of network file systems and object stores tell
 * nothing of what other machines do.
 *
 * A version: settling ── two looks in a row find it unchanged, and whole ──> whole. settling ── unchanged for
 * `settleMs`, and not whole ──> incomplete. Any change of its files: ──> settling, while what was whole before goes on to be
 * reported as whole until the next is. Not listed by two looks in a row: ──> gone. At the first look nothing is settling: what is
 * there has to be served, or be reported, now.
 */
export class RepositoryWatcher {
  readonly #options: RepositoryWatcherOptions;
  readonly #sightings = new Map<string, Sighting>();
  readonly #stopping = new AbortController();
  #policies = new Map<string, VersionPolicy>();
  #timer: { cancel(): void } | undefined;
  #isFirst = true;

  constructor(options: RepositoryWatcherOptions) {
    this.#options = options;
  }

  /** The first look; rejects when the repository cannot be read. Then it goes on by itself. */
  async start(): Promise<RepositorySnapshot> {
    const snapshot = await this.#look();
    this.#plan();
    return snapshot;
  }

  stop(): void {
    this.#stopping.abort();
    this.#timer?.cancel();
  }

  #plan(): void {
    const { clock, pollMs } = this.#options;
    if (pollMs === 0 || this.#stopping.signal.aborted) return;
    this.#timer = clock.setTimeout(() => void this.#lookAgain(), pollMs);
  }

  async #lookAgain(): Promise<void> {
    try {
      const snapshot = await this.#look();
      if (!this.#stopping.signal.aborted) this.#options.onSnapshot(snapshot);
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#options.onError(error as Error);
    }
    this.#plan();
  }

  async #look(): Promise<RepositorySnapshot> {
    const { source, models } = this.#options;
    const listing = await source.list();
    const versions = listing.versions.filter(({ name }) => models.length === 0 || models.includes(name));
    if (listing.isEmpty && this.#sightings.size > 0) {
      throw new Error(`${source.location} is empty, as if it were not mounted: what was loaded serves on`);
    }
    const listed = new Set(versions.map(keyOf));
    for (const [key, sighting] of this.#sightings) {
      if (listed.has(key)) continue;
      // One listing may miss what is there, on file systems that are far away.
      sighting.missed += 1;
      if (sighting.missed > 1) this.#sightings.delete(key);
    }
    for (const version of versions) await this.#see(version);
    this.#readPolicies(listing);
    this.#isFirst = false;
    return { versions: [...this.#sightings.values()].map(({ found }) => found), policies: this.#policies };
  }

  async #see(listed: ListedVersion): Promise<void> {
    const { clock, settleMs } = this.#options;
    const { name, version, fingerprint } = listed;
    const key = keyOf(listed);
    const nowMs = clock.now();
    let sighting = this.#sightings.get(key);
    if (sighting?.fingerprint !== fingerprint) {
      const found =
        sighting?.found.status === 'whole' ? sighting.found : { name, version, status: 'settling' as const };
      sighting = { fingerprint, changedAtMs: nowMs, found, isRead: false, missed: 0 };
      this.#sightings.set(key, sighting);
      // It is read when it has had the time to change once more.
      if (!this.#isFirst) return;
    }
    sighting.missed = 0;
    if (sighting.isRead) return;
    const isSettled = nowMs - sighting.changedAtMs >= settleMs;
    const found = await this.#read(listed);
    if (found.status === 'whole' || isSettled || this.#isFirst) sighting.found = found;
    sighting.isRead = found.status === 'whole' || isSettled;
  }

  async #read(listed: ListedVersion): Promise<WatchedVersion> {
    const { name, version, fingerprint } = listed;
    try {
      const folder = await this.#options.source.fetch(listed, { signal: this.#stopping.signal });
      const { manifest, error } = await readWholeVersion({ folder, name, version }, this.#options.readGraph);
      if (!manifest) return { name, version, status: 'incomplete', reason: error.message };
      const identity = canonicalSha256(manifest);
      return { name, version, status: 'whole', folder, manifest, identity, fingerprint };
    } catch (error) {
      return { name, version, status: 'incomplete', reason: (error as Error).message };
    }
  }

  /** A policy that cannot be understood changes nothing: half-written is no reason to unload a model. */
  #readPolicies({ policies }: RepositoryListing): void {
    const understood = new Map<string, VersionPolicy>();
    for (const [name, text] of policies) {
      const policy = versionPolicy.safeParse(parseJson(text));
      const before = this.#policies.get(name);
      if (policy.success) understood.set(name, policy.data);
      else {
        if (before) understood.set(name, before);
        this.#options.onError(
          new Error(`${name}/policy.json is not a version policy: ${policy.error.issues[0]?.message}`),
        );
      }
    }
    this.#policies = understood;
  }
}

function keyOf({ name, version }: { name: string; version: string }): string {
  return `${name}/${version}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

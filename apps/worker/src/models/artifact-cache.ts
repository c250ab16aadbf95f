import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, canonicalSha256 } from '@onqueue/shared';

export interface ArtifactCacheOptions {
  /** Of this user on this machine; workers share it. */
  cacheDir: string;
  clock: Clock;
}

/** A lock is renewed this often, and is broken when it has not been for so long: who held it is gone. */
const RENEW_MS = 2000;
const STALE_MS = 15_000;
const LOOK_MS = 100;
const DRAFT_SUFFIX = '.part';

/**
 * Versions that were fetched from afar, one folder each, so that all workers of a machine fetch it once. A folder is whole or absent:
 * it is filled under another name, beside a lock that one process holds, and renamed when it is proved. Nothing is lost with the cache.
 */
export class ArtifactCache {
  readonly #folder: string;
  readonly #clock: Clock;

  constructor({ cacheDir, clock }: ArtifactCacheOptions) {
    this.#folder = join(cacheDir, 'models');
    this.#clock = clock;
  }

  /**
   * The folder of what `key` identifies; `fill` puts it into an empty one if it is not there, and rejects when it cannot or what it got
   * is not right.
   */
  async folderOf(
    key: unknown,
    { fill, signal }: { fill: (folder: string) => Promise<void>; signal: AbortSignal },
  ): Promise<string> {
    const folder = join(this.#folder, canonicalSha256(key));
    if (await exists(folder)) return folder;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const lock = await this.#lock(`${folder}.lock`, signal);
    try {
      // Whoever had the lock before may have done it.
      if (await exists(folder)) return folder;
      await this.#removeDrafts(folder);
      const draft = `${folder}.${randomBytes(6).toString('hex')}${DRAFT_SUFFIX}`;
      await mkdir(draft, { mode: 0o700 });
      try {
        await fill(draft);
        await rename(draft, folder);
      } catch (error) {
        await rm(draft, { recursive: true, force: true });
        throw error;
      }
      return folder;
    } finally {
      await lock.release();
    }
  }

  /** Made by creating a file that must not be there: atomic on every file system that matters. */
  async #lock(path: string, signal: AbortSignal): Promise<{ release(): Promise<void> }> {
    for (;;) {
      signal.throwIfAborted();
      const file = await open(path, 'wx').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return undefined;
        throw error;
      });
      if (file) {
        await file.close();
        return this.#held(path);
      }
      const age = await stat(path).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0,
      );
      if (age > STALE_MS) await rm(path, { force: true });
      else await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, LOOK_MS));
    }
  }

  #held(path: string): { release(): Promise<void> } {
    let timer: { cancel(): void } | undefined;
    const renew = () => {
      const now = new Date();
      utimes(path, now, now).catch(() => undefined);
      timer = this.#clock.setTimeout(renew, RENEW_MS);
    };
    timer = this.#clock.setTimeout(renew, RENEW_MS);
    return {
      release: () => {
        timer?.cancel();
        return rm(path, { force: true });
      },
    };
  }

  /** What a process left that died while it fetched. */
  async #removeDrafts(folder: string): Promise<void> {
    const prefix = folder.slice(this.#folder.length + 1);
    const names = await readdir(this.#folder);
    const drafts = names.filter((name) => name.startsWith(`${prefix}.`) && name.endsWith(DRAFT_SUFFIX));
    await Promise.all(drafts.map((name) => rm(join(this.#folder, name), { recursive: true, force: true })));
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Calibration, calibration, calibrationMachine, canonicalSha256 } from '@onqueue/shared';
import { z } from 'zod';

/** All that a measurement depends on: when one of these is another, so is the file. */
const calibrationKey = z.object({
  artifact_sha256: z.string(),
  preprocess_sha256: z.string(),
  machine: calibrationMachine,
  /** How far, and how long, was measured. */
  max_batch_size: z.number(),
  budget_ms: z.number(),
});
export type CalibrationKey = z.infer<typeof calibrationKey>;

const cachedCalibration = z.object({ schema_version: z.literal(1), key: calibrationKey, calibration });

/**
 * Measurements on the disk of this machine, one small JSON file each, so that a restart need not repeat them. Workers may
 * share the folder: a file is whole or absent. One that cannot be read counts as absent; the folder is a cache and
 * nothing is lost with it.
 */
export class CalibrationCache {
  readonly #folder: string;

  constructor({ cacheDir }: { cacheDir: string }) {
    this.#folder = join(cacheDir, 'calibration');
  }

  async read(key: CalibrationKey): Promise<Calibration | undefined> {
    try {
      const cached = cachedCalibration.parse(JSON.parse(await readFile(this.#fileOf(key), 'utf8')));
      // The folder may be anybody's: whatever stands there, it never raises a limit.
      return cached.calibration.max_batch_size <= key.max_batch_size ? cached.calibration : undefined;
    } catch {
      return undefined;
    }
  }

  /** Rejects when the folder cannot be written to. */
  async write(key: CalibrationKey, measured: Calibration): Promise<void> {
    const file = this.#fileOf(key);
    const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`;
    const cached: z.infer<typeof cachedCalibration> = { schema_version: 1, key, calibration: measured };
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    try {
      await writeFile(draft, `${JSON.stringify(cached, null, 2)}\n`, { flag: 'wx' });
      await rename(draft, file);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }

  #fileOf(key: CalibrationKey): string {
    return join(this.#folder, `${canonicalSha256(key)}.json`);
  }
}

/** Where caches of a user belong; one without a home has the folder for temporary files. */
export function defaultCacheDir(env: Readonly<Record<string, string | undefined>>): string {
  const home = env.HOME || homedir();
  const base = env.XDG_CACHE_HOME || env.LOCALAPPDATA || (home ? join(home, '.cache') : tmpdir());
  return join(base, 'onqueue');
}

import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isHidden, type ListedVersion, type ModelSource, type RepositoryListing } from './model-source.ts';
import { readTextFile } from './regular-file.ts';

/** Files of a version that are looked at; a folder with more is none of a model. */
const MAX_FILES = 10_000;
/** What stands in a model's folder beside its versions. */
export const POLICY_FILE = 'policy.json';
const POLICY_BYTES = 1024 * 1024;

/** `<modelsDir>/<name>/<version>/` on a file system of this machine, or one that is mounted. */
export class FolderModelSource implements ModelSource {
  readonly location: string;

  constructor({ modelsDir }: { modelsDir: string }) {
    this.location = resolve(modelsDir);
  }

  async list(): Promise<RepositoryListing> {
    const names = await subfolders(this.location);
    const listing: RepositoryListing = { versions: [], policies: new Map(), isEmpty: names.length === 0 };
    for (const name of names) {
      const folder = join(this.location, name);
      const policy = await readTextFile(join(folder, POLICY_FILE), { maxBytes: POLICY_BYTES }).catch(() => undefined);
      if (policy !== undefined) listing.policies.set(name, policy);
      for (const version of await subfolders(folder).catch(ifVanished)) {
        const fingerprint = await fingerprintOf(join(folder, version));
        listing.versions.push({ name, version, fingerprint });
      }
    }
    return listing;
  }

  async fetch({ name, version }: ListedVersion): Promise<string> {
    return join(this.location, name, version);
  }
}

/** Links are followed: deployments switch versions by linking folders. */
async function subfolders(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => !isHidden(name));
  const isFolder = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (s) => s.isDirectory(),
        () => false,
      ),
    ),
  );
  return names.filter((_, index) => isFolder[index]).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/** Names, sizes and times: on network file systems too, where no event tells of a change that another machine made. */
async function fingerprintOf(folder: string): Promise<string> {
  const names = (await readdir(folder, { recursive: true }).catch(ifVanished)).sort().slice(0, MAX_FILES);
  const hash = createHash('sha256');
  for (const name of names) {
    // What vanishes while it is looked at is told apart by the next look.
    const { size, mtimeMs } = await stat(join(folder, name)).catch(() => ({ size: -1, mtimeMs: 0 }));
    hash.update(`${name}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest('hex');
}

/** A folder that was removed between two looks; all else is for the caller. */
function ifVanished(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
  throw error;
}

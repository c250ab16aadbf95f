import { cp, mkdir, mkdtemp, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { CliError } from '../cli-error.ts';

/** The version unless one is given: one more than the largest number there is. */
export async function nextVersion(modelsDir: string, name: string): Promise<string> {
  const versions = await readdir(join(modelsDir, name)).catch(() => [] as string[]);
  const numbers = versions.filter((version) => /^\d{1,15}$/.test(version)).map(Number);
  return String(Math.max(0, ...numbers) + 1);
}

/**
 * A folder in which a version is made; workers pass over it, since its name begins with a dot. It becomes the version in one step
 * when `make` is done, and nothing of it is left when `make` fails.
 */
export async function stageVersion<T>(
  place: { modelsDir: string; name: string; version: string },
  make: (staging: string) => Promise<T>,
): Promise<T & { folder: string }> {
  const folder = join(place.modelsDir, place.name, place.version);
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  );
  if (isThere) throw new CliError(`${folder} is there already: give another --version.`);
  const parent = dirname(folder);
  const isNewModel = (await mkdir(parent, { recursive: true })) !== undefined;
  const staging = await mkdtemp(join(parent, `.${place.version}-`));
  try {
    const made = await make(staging);
    await rename(staging, folder);
    return { ...made, folder };
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    // Only if it is empty.
    if (isNewModel) await rmdir(parent).catch(() => undefined);
    throw error;
  }
}

/** Copies weights that lie beside a model. What lies elsewhere is not taken: whoever made the file says where, and nobody checked it. */
export async function copyExternalData(
  modelFile: string,
  locations: readonly string[],
  staging: string,
): Promise<void> {
  for (const location of locations) {
    if (isAbsolute(location) || normalize(location).split(/[\\/]/).includes('..')) {
      throw new CliError(`${basename(modelFile)} names data outside of its own folder: ${location}`);
    }
    const target = join(staging, location);
    await mkdir(dirname(target), { recursive: true });
    await cp(join(dirname(modelFile), location), target, { dereference: false, errorOnExist: true }).catch(
      (cause: Error) => {
        throw new CliError(`The data of the model, ${location}, cannot be copied: ${cause.message}`, { cause });
      },
    );
  }
}

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from '@onqueue/launcher';
import { type ModelManifest, modelManifest } from '@onqueue/shared';

/** A version in the repository's `models` folder; `label` is what its figures are called by. */
export interface ShippedVersion {
  label: string;
  folder: string;
  manifest: ModelManifest;
}

/** Read at once, since the list of a bench's figures says their names before anything is measured. */
export function shippedVersions(): ShippedVersion[] {
  const root = join(repoRoot, 'models');
  return readdirSync(root).flatMap((name) =>
    readdirSync(join(root, name)).map((version) => {
      const folder = join(root, name, version);
      const manifest = modelManifest.parse(JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')));
      return { label: `${name}_${version}`, folder, manifest };
    }),
  );
}

/** The rows that the version is proved on. */
export function goldenInputs({ folder, manifest }: ShippedVersion): unknown[] {
  return readFileSync(join(folder, manifest.golden?.file ?? 'golden.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { input: unknown }).input);
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeLinearModel } from '../../support/models/tiny-models.ts';

/** Two model repositories: one with both versions of `linear`, one with the first alone. */
export async function writeTwoVersions(): Promise<{ both: string; first: string; remove(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'onqueue-versions-'));
  const [both, first] = [join(root, 'both'), join(root, 'first')];
  const name = 'linear';
  await Promise.all([
    writeLinearModel({ dir: both, name, version: '1' }),
    writeLinearModel({ dir: both, name, version: '2' }),
    writeLinearModel({ dir: first, name, version: '1' }),
  ]);
  return { both, first, remove: () => rm(root, { recursive: true, force: true }) };
}

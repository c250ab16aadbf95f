import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCrashModel, writeLinearModel, writeSlowModel } from '../../support/models/tiny-models.ts';

/** Two model repositories: one with both versions of `linear`, one with the first alone; `crash` and `slow` in both. */
export async function writeTwoVersions(): Promise<{ both: string; first: string; remove(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'onqueue-versions-'));
  const [both, first] = [join(root, 'both'), join(root, 'first')];
  const name = 'linear';
  const version = '1';
  await Promise.all([
    ...[both, first].flatMap((dir) => [
      writeLinearModel({ dir, name, version }),
      writeCrashModel({ dir, name: 'crash', version }),
      writeSlowModel({ dir, name: 'slow', version }),
    ]),
    writeLinearModel({ dir: both, name, version: '2' }),
  ]);
  return { both, first, remove: () => rm(root, { recursive: true, force: true }) };
}

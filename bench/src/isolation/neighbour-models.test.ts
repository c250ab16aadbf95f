import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { writeCrashModel, writeLoopModel } from '../../../test/support/models/tiny-models.ts';

const KEPT = fileURLToPath(new URL('../../models', import.meta.url));

/** `UPDATE_MODELS=1 npm test -- bench/src/isolation` writes them anew. */
test('the neighbours of the isolation bench are what the ONNX writer writes', async () => {
  const dir = process.env.UPDATE_MODELS ? KEPT : await mkdtemp(join(tmpdir(), 'onqueue-neighbours-'));
  try {
    const version = '1';
    await writeCrashModel({ dir, name: 'crash', version, batching: { max_batch_size: 8 } });
    await writeLoopModel({ dir, name: 'busy', version, batching: { max_batch_size: 1 } });
    await writeLoopModel({ dir, name: 'hang', version, batching: { max_batch_size: 1 } });
    expect(await filesOf(KEPT)).toEqual(await filesOf(dir));
  } finally {
    if (dir !== KEPT) await rm(dir, { recursive: true });
  }
});

/** Path → content, base64. */
async function filesOf(dir: string): Promise<Record<string, string>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Object.fromEntries(
    await Promise.all(
      files.map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        return [path.slice(dir.length), (await readFile(path)).toString('base64')] as const;
      }),
    ),
  );
}

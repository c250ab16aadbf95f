import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { writeLinearModel } from '../../../../test/support/models/tiny-models.ts';
import { fileSha256 } from './artifact.ts';
import { scanModelRepository } from './model-repository.ts';

let modelsDir: string;
beforeEach(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-models-'));
});
afterEach(() => rm(modelsDir, { recursive: true }));

async function change(place: { name: string; version: string }, edit: (manifest: Record<string, unknown>) => unknown) {
  const { folder, manifest } = await writeLinearModel({ dir: modelsDir, ...place });
  const edited = edit({ ...manifest });
  await writeFile(join(folder, 'model.json'), typeof edited === 'string' ? edited : JSON.stringify(edited));
  return folder;
}

test('lists the versions of every model, numbers in their order', async () => {
  for (const version of ['10', '2']) await writeLinearModel({ dir: modelsDir, name: 'sum', version });
  await writeLinearModel({ dir: modelsDir, name: 'add', version: '1' });
  await symlink(join(modelsDir, 'sum', '10'), join(modelsDir, 'sum', 'latest'));
  await writeFile(join(modelsDir, 'README.md'), 'no model');
  await mkdir(join(modelsDir, '.git', 'objects'), { recursive: true });
  const entries = await scanModelRepository({ modelsDir });
  expect(entries.map(({ folder, manifest }) => [folder.slice(modelsDir.length), manifest?.version])).toEqual([
    ['/add/1', '1'],
    ['/sum/2', '2'],
    ['/sum/10', '10'],
    // A link under another name is not the version that its manifest names.
    ['/sum/latest', undefined],
  ]);
});

test('a broken folder tells its file and place, and hides no other', async () => {
  await change({ name: 'json', version: '1' }, () => '{"name": ');
  await change({ name: 'schema', version: '1' }, (manifest) => ({
    ...manifest,
    artifact: { file: '../x', sha256: 'y' },
  }));
  await change({ name: 'unknown', version: '1' }, (manifest) => ({ ...manifest, colour: 'red' }));
  await change({ name: 'version', version: '1' }, (manifest) => ({ ...manifest, version: '2' }));
  const gone = await change({ name: 'artifact', version: '1' }, (manifest) => manifest);
  await rm(join(gone, 'model.onnx'));
  await mkdir(join(modelsDir, 'empty', '1'), { recursive: true });
  await writeLinearModel({ dir: modelsDir, name: 'good', version: '1' });

  const entries = await scanModelRepository({ modelsDir });
  const errors = Object.fromEntries(
    entries.map(({ folder, error }) => [folder.slice(modelsDir.length), error && [error.pointer, error.message]]),
  );
  const at = (name: string, text: string) => expect.stringContaining(join(modelsDir, name, '1', `model.json${text}`));
  expect(errors).toEqual({
    '/artifact/1': ['/artifact/file', at('artifact', '#/artifact/file: names ')],
    '/empty/1': [undefined, at('empty', ': cannot be read: ENOENT')],
    '/good/1': undefined,
    '/json/1': [undefined, at('json', ': is not JSON')],
    '/schema/1': ['/artifact/file', at('schema', '#/artifact/file: stay inside the folder')],
    '/unknown/1': ['', at('unknown', '#: Unrecognized key: "colour"')],
    '/version/1': ['/version', at('version', '#/version: is "2" where the folder says "1"')],
  });
});

test('a repository that cannot be read is an error of its own', async () => {
  await expect(scanModelRepository({ modelsDir: join(modelsDir, 'none') })).rejects.toThrow('ENOENT');
});

test('the checksum of a file is that of its bytes', async () => {
  const path = join(modelsDir, 'abc');
  await writeFile(path, 'abc');
  expect(await fileSha256(path)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

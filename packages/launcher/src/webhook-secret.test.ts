import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { keptWebhookSecret, newWebhookSecret } from './webhook-secret.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-secret-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('is whsec_ and the base64 of 32 bytes', () => {
  expect(Buffer.from(newWebhookSecret().replace(/^whsec_/, ''), 'base64')).toHaveLength(32);
});

test('is kept in a file that only its owner reads', async () => {
  const file = join(folder, 'state', 'webhook-secret');
  const secret = await keptWebhookSecret(file);
  expect(await keptWebhookSecret(file)).toBe(secret);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

test('does not use a file that holds something else', async () => {
  const file = join(folder, 'webhook-secret');
  await writeFile(file, 'hunter2\n');
  await expect(keptWebhookSecret(file)).rejects.toThrow('holds no webhook secret');
});

import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { PLATFORM_VERSION } from './platform-version.ts';

test('is that of package.json', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect(PLATFORM_VERSION).toBe(version);
});

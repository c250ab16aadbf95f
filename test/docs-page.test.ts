import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

test('GET /docs is a page that loads all it needs from this server', async () => {
  const page = await fetch(`${platform.baseUrl}/docs`);
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
  const html = await page.text();
  const addresses = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address as string);
  expect(addresses.filter((address) => /^(https?:)?\/\//.test(address))).toEqual([]);
  const loaded = addresses.filter((address) => !address.startsWith('data:'));
  expect(loaded.length).toBeGreaterThanOrEqual(4);
  for (const address of loaded) {
    const asset = await fetch(new URL(address, page.url));
    expect([address, asset.status]).toEqual([address, 200]);
    await asset.arrayBuffer();
  }
});

test('the page is found with a slash behind it, and serves no other file', async () => {
  const redirected = await fetch(`${platform.baseUrl}/docs/`, { redirect: 'manual' });
  expect([redirected.status, redirected.headers.get('location')]).toEqual([308, '../docs']);
  for (const other of ['package.json', 'swagger-initializer.js', '..%2fpackage.json']) {
    const refused = await fetch(`${platform.baseUrl}/docs/${other}`);
    expect([other, refused.status]).toEqual([other, 404]);
    await refused.arrayBuffer();
  }
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { postJob, request, runJob } from './support/client.ts';
import { writeSequenceModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let root: string;
let platform: TestPlatform;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-tensors-'));
  await writeSequenceModel({ dir: root, name: 'sequence', version: '1', maxLength: 4, batching: { calibrate: false } });
  platform = await startTestPlatform({ modelsDir: root });
});

afterAll(async () => {
  await platform?.stop();
  await rm(root, { recursive: true, force: true });
});

test('rows of several lengths are scored together, and answered without their padding', async () => {
  const inputs = [{ tokens: [1, 2, 3, 4] }, { tokens: [5] }, { tokens: [6, 7] }];
  expect(await runJob(platform.baseUrl, { model: 'sequence', inputs })).toMatchObject({
    status: 'succeeded',
    results: [
      { output: { total: [10], twice: [2, 4, 6, 8] } },
      { output: { total: [5], twice: [10] } },
      { output: { total: [13], twice: [12, 14] } },
    ],
  });
});

test('a row that is longer than the model allows is refused at its place', async () => {
  const inputs = [{ tokens: [1] }, { tokens: [1, 2, 3, 4, 5] }];
  const { status, body } = await postJob(platform.baseUrl, { model: 'sequence', inputs });
  expect([status, body]).toMatchObject([400, { errors: [{ pointer: '/inputs/1/tokens' }] }]);
});

test('GET /models/:name tells what a row is', async () => {
  const { body } = await request(`${platform.baseUrl}/models/sequence`);
  expect(body).toMatchObject({
    kind: 'tensor',
    row_schema: {
      properties: {
        tokens: {
          type: 'array',
          items: { anyOf: [{ type: 'integer' }, { type: 'string' }] },
          minItems: 1,
          maxItems: 4,
        },
      },
    },
    example: { tokens: [1, 2, 3] },
  });
});

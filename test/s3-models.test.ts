import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { postJob, request, runJob } from './support/client.ts';
import { type RedisProxy, startRedisProxy } from './support/job-source-proxy.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type S3Server, startS3Server } from './support/s3-server.ts';
import { until } from './support/until.ts';

/** A model repository in a bucket. */

let s3: S3Server;
/** On the workers' way to it. */
let proxy: RedisProxy;
let client: S3Client;
let root: string;
let platform: TestPlatform;

const input = { x0: 1, x1: 1, x2: 1 };
const FILES = ['model.json', 'golden.jsonl', 'model.onnx'] as const;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-s3-models-'));
  s3 = await startS3Server();
  proxy = await startRedisProxy(Number(new URL(s3.endpoint).port));
  client = new S3Client({
    region: 'us-east-1',
    endpoint: s3.endpoint,
    forcePathStyle: true,
    credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
  });
  await upload('1', FILES);
  platform = await startTestPlatform({
    modelsDir: `s3://${s3.bucket}/models`,
    workers: 2,
    workerEnv: {
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
      ONQUEUE_S3_ENDPOINT: proxy.url.replace('redis:', 'http:'),
      ONQUEUE_S3_PATH_STYLE: 'true',
      ONQUEUE_CACHE_DIR: join(root, 'cache'),
      ONQUEUE_MODELS_POLL_MS: '100',
      ONQUEUE_MODELS_SETTLE_MS: '1000',
    },
  });
});

afterAll(async () => {
  await platform?.stop();
  client?.destroy();
  await proxy?.close();
  await s3?.stop();
  await rm(root, { recursive: true, force: true });
});

const keyOf = (version: string, file: string) => `models/linear/${version}/${file}`;

async function upload(version: string, files: readonly string[], cut = false): Promise<void> {
  const { folder } = await writeLinearModel({ dir: root, name: 'linear', version, bias: Number(version) });
  for (const file of files) {
    const whole = await readFile(join(folder, file));
    const Body = cut ? whole.subarray(0, whole.length / 2) : whole;
    await client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: keyOf(version, file), Body }));
  }
}

async function stateIs(version: string, state: string): Promise<{ reason: string }> {
  return until(`linear/${version} is ${state}`, async () => {
    const { body } = await request<{ state: string; reason: string }>(
      `${platform.baseUrl}/models/linear/versions/${version}`,
    );
    return body.state === state && body;
  });
}

/** The versions in the cache, without what is being fetched. */
async function cached(): Promise<string[]> {
  return (await readdir(join(root, 'cache', 'models'))).filter((name) => !name.includes('.'));
}

test('a version is served from a bucket, fetched once for all workers of the machine', async () => {
  expect(await runJob(platform.baseUrl, { model: 'linear', input })).toMatchObject({
    status: 'succeeded',
    version: '1',
    results: [{ output: { score: 4 } }],
  });
  const folders = await cached();
  expect(folders).toHaveLength(1);
  expect((await readdir(join(root, 'cache', 'models', String(folders[0])))).sort()).toEqual([...FILES].sort());
});

test('a restart reads it from the cache', async () => {
  const [before] = await cached();
  const artifact = join(root, 'cache', 'models', String(before), 'model.onnx');
  const { ino } = await stat(artifact);
  await platform.startWorker();
  expect(await cached()).toEqual([before]);
  expect((await stat(artifact)).ino).toBe(ino);
});

test('one that is uploaded file by file is served when it is whole, and what was no whole one is not kept', async () => {
  await upload('2', ['model.json', 'golden.jsonl']);
  await upload('2', ['model.onnx'], true);
  expect((await stateIs('2', 'incomplete')).reason).toContain('SHA-256');
  expect(await cached()).toHaveLength(1);
  await upload('2', ['model.onnx']);
  await stateIs('2', 'ready');
  for (const folder of await cached()) {
    expect((await readdir(join(root, 'cache', 'models', folder))).sort()).toEqual([...FILES].sort());
  }
  expect(await runJob(platform.baseUrl, { model: 'linear', version: '2', input })).toMatchObject({
    status: 'succeeded',
  });
});

test('one that is deleted from the bucket is gone', async () => {
  for (const file of FILES) await client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: keyOf('2', file) }));
  await stateIs('2', 'removed');
  expect((await postJob(platform.baseUrl, { model: 'linear', version: '2', input })).status).toBe(410);
});

test('while the bucket cannot be reached, what is loaded serves on, and what comes later is found', async () => {
  proxy.cut();
  const [worker] = platform.workers;
  await until('a worker has noticed', () => worker?.logs().some((line) => line.includes('model repository')));
  expect(await runJob(platform.baseUrl, { model: 'linear', input })).toMatchObject({
    status: 'succeeded',
    version: '1',
  });
  await upload('3', FILES);
  proxy.mend();
  await stateIs('3', 'ready');
});

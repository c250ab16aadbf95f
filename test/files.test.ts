import { createHash, randomBytes } from 'node:crypto';
import { cp, readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { Redis } from 'ioredis';
import { postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** Files that are uploaded, and jobs that refer to them. */

interface FileBody {
  id: string;
  status: string;
  bytes: number | null;
  sha256: string | null;
  content_type: string;
  expires_at: string;
  parts: { number: number; bytes: number; sha256: string }[];
  code: string;
  errors?: { pointer: string }[];
}

const KB = 1024;
const MAX_FILE = 600 * KB;
const MAX_PART = 256 * KB;

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
let redis: Redis;
let seven: Buffer;

beforeAll(async () => {
  models = await writeTestModels();
  await cp(join(repoRoot, 'models', 'digits'), join(models.dir, 'digits'), { recursive: true });
  seven = await readFile(join(repoRoot, 'models', 'digits', '1', 'samples', 'seven.png'));
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: {
      ONQUEUE_MAX_FILE_BYTES: String(MAX_FILE),
      ONQUEUE_MAX_FILE_PART_BYTES: String(MAX_PART),
      ONQUEUE_MAX_FILE_PARTS: '4',
      ONQUEUE_MAX_FILES_BYTES: String(8000 * KB),
      ONQUEUE_MAX_BODY_BYTES: String(300 * KB),
      ONQUEUE_MAX_ROWS_PER_JOB: '50',
    },
  });
  ({ baseUrl } = platform);
  redis = new Redis(platform.redisUrl);
});

afterAll(async () => {
  redis?.disconnect();
  await platform?.stop();
  await models?.remove();
});

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const digestOf = (content: Buffer) => `sha-256=:${createHash('sha256').update(content).digest('base64')}:`;
const bodyOf = (content: Buffer) => new Uint8Array(content);
const upload = (content: Buffer, headers: Record<string, string> = {}) =>
  request<FileBody>(`${baseUrl}/files`, { method: 'POST', headers, body: bodyOf(content) });
const stored = async (content: Buffer | string) => (await upload(Buffer.from(content))).body.id;
const call = (method: string, path: string, body?: unknown) =>
  request<FileBody>(`${baseUrl}${path}`, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
const begin = async () => (await call('POST', '/uploads', { content_type: 'application/x-ndjson' })).body.id;
const putPart = (id: string, number: number | string, content: Buffer, headers: Record<string, string> = {}) =>
  request<FileBody>(`${baseUrl}/uploads/${id}/parts/${number}`, { method: 'PUT', headers, body: bodyOf(content) });
const contentOf = async (id: string) =>
  Buffer.from(await (await fetch(`${baseUrl}/files/${id}/content`)).arrayBuffer());
const blobs = () => redis.keys('oq:{blob:*');

describe('POST /files', () => {
  test('stores the content, and gives it back as it was', async () => {
    const content = randomBytes(500 * KB);
    const headers = { 'content-type': 'image/png', 'content-digest': digestOf(content) };
    const { status, body, headers: answered } = await upload(content, headers);
    expect([status, answered.get('location')]).toEqual([201, `/files/${body.id}`]);
    expect(body).toMatchObject({
      object: 'file',
      status: 'ready',
      bytes: content.length,
      sha256: sha256(content),
      content_type: 'image/png',
    });
    expect((await contentOf(body.id)).equals(content)).toBe(true);
    const head = await fetch(`${baseUrl}/files/${body.id}/content`, { method: 'HEAD' });
    expect([head.headers.get('content-digest'), head.headers.get('content-disposition')]).toEqual([
      digestOf(content),
      'attachment',
    ]);
    expect((await call('GET', `/files/${body.id}`)).body).toEqual(body);
  });

  test.each([
    [MAX_FILE, 201],
    [MAX_FILE + 1, 413],
  ])('%i bytes are answered %i', async (bytes, status) => {
    expect((await upload(randomBytes(bytes))).status).toBe(status);
  });

  test('content that is not what its digest says is refused, and nothing of it kept', async () => {
    const before = (await blobs()).length;
    const answer = await upload(Buffer.from('abc'), { 'content-digest': digestOf(Buffer.from('abd')) });
    expect([answer.status, answer.body.code]).toEqual([400, 'digest_mismatch']);
    expect((await blobs()).length).toBe(before);
  });

  test.each(['md5=:AAAA:', 'sha-256=abc', 'sha-256=:AAAA:'])('the digest %j is refused', async (digest) => {
    const answer = await upload(Buffer.from('x'), { 'content-digest': digest });
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request']);
  });

  test.each([{ 'content-encoding': 'gzip' }, { 'content-type': 'multipart/form-data; boundary=x' }])(
    'with %j is answered 415',
    async (headers) => {
      expect((await upload(Buffer.from('x'), headers as Record<string, string>)).status).toBe(415);
    },
  );

  test('a client that breaks off leaves nothing', async () => {
    const before = (await blobs()).length;
    const { hostname, port } = new URL(baseUrl);
    const sent = httpRequest({
      hostname,
      port,
      path: '/files',
      method: 'POST',
      headers: { 'content-length': '500000' },
    });
    sent.on('error', () => {});
    sent.write(randomBytes(300_000));
    await until('something has arrived', async () => (await blobs()).length > before);
    sent.destroy();
    await until('it is gone', async () => (await blobs()).length === before);
  });

  test('is gone when it is deleted, as one that never was', async () => {
    const id = await stored('short lived');
    expect((await call('DELETE', `/files/${id}`)).status).toBe(204);
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/content'],
      ['DELETE', ''],
    ]) {
      expect([path, (await call(String(method), `/files/${id}${path}`)).body.code]).toEqual([path, 'file_not_found']);
    }
    expect((await redis.keys(`oq:*${id}*`)).length).toBe(0);
  });

  test('expires with its record, and its content after it', async () => {
    const id = await stored('expiring');
    const [key] = await redis.keys(`oq:*file:${id}`);
    const ttlMs = await redis.pttl(String(key));
    expect(ttlMs).toBeGreaterThan(86_000_000);
    expect(ttlMs).toBeLessThanOrEqual(86_400_000);
    expect(Number(await redis.zscore('oq:{0}:blobs', `default ${id}`))).toBeGreaterThan(Date.now() + 86_000_000);
    await redis.zadd('oq:{0}:blobs', 0, `default ${id}`);
    await until('the blob is swept', async () => (await redis.keys(`oq:{blob:*${id}*`)).length === 0);
    expect((await call('GET', `/files/${id}/content`)).body.code).toBe('file_not_found');
  });

  test.each(['file_x', 'file_00000000000000000000000000000000', '..%2f..', 'job_x'])(
    'the id %s is answered like one that never was',
    async (id) => {
      expect(await call('GET', `/files/${id}`)).toMatchObject({ status: 404, body: { code: 'file_not_found' } });
    },
  );
});

describe('an upload in parts', () => {
  test('may send its parts in any order, one of them twice, and go on after a break', async () => {
    const id = await begin();
    const parts = [randomBytes(MAX_PART), randomBytes(1000), randomBytes(77)];
    const [first, second, third] = parts as [Buffer, Buffer, Buffer];
    expect(await putPart(id, 2, randomBytes(5))).toMatchObject({ status: 200 });
    expect(await putPart(id, 3, third)).toMatchObject({ body: { number: 3, bytes: 77, sha256: sha256(third) } });
    // What has arrived is told to whoever begins again.
    expect((await call('GET', `/uploads/${id}`)).body.parts.map(({ number }) => number)).toEqual([2, 3]);
    expect((await call('POST', `/uploads/${id}/complete`, {})).body.code).toBe('upload_incomplete');
    expect((await call('GET', `/files/${id}/content`)).body.code).toBe('file_not_found');
    await putPart(id, 1, first, { 'content-digest': digestOf(first) });
    await putPart(id, 2, second);
    const whole = Buffer.concat(parts);
    expect((await call('POST', `/uploads/${id}/complete`, { sha256: sha256(first) })).body.code).toBe(
      'digest_mismatch',
    );
    const done = await call('POST', `/uploads/${id}/complete`, { sha256: sha256(whole) });
    expect(done).toMatchObject({ status: 201, body: { id, status: 'ready', bytes: whole.length } });
    expect((await contentOf(id)).equals(whole)).toBe(true);
    expect(await call('POST', `/uploads/${id}/complete`, {})).toMatchObject({ status: 201, body: done.body });
    expect((await putPart(id, 1, first)).body.code).toBe('upload_ended');
    expect((await redis.keys(`oq:{blob:*${id}.part*`)).length).toBe(0);
  });

  test.each([
    [1, MAX_PART, 200],
    [4, 10, 200],
    [1, MAX_PART + 1, 413],
    [5, 10, 400],
    [0, 10, 400],
    ['one', 10, 400],
    ['-1', 10, 400],
  ])('part %s of %i bytes is answered %i', async (number, bytes, status) => {
    expect((await putPart(await begin(), number, randomBytes(bytes))).status).toBe(status);
  });

  test('a part that is not what its digest says is not noted', async () => {
    const id = await begin();
    const answer = await putPart(id, 1, Buffer.from('a'), { 'content-digest': digestOf(Buffer.from('b')) });
    expect(answer.body.code).toBe('digest_mismatch');
    expect((await call('GET', `/uploads/${id}`)).body.parts).toEqual([]);
  });

  test('a part that is refused when it is sent again leaves the one before', async () => {
    const api = await platform.startApi({ ONQUEUE_MAX_FILES_BYTES: '1024', ONQUEUE_KEY_PREFIX: 'again' });
    const send = (path: string, method: string, body: Uint8Array | string) =>
      request<FileBody>(`${api.baseUrl}${path}`, { method, body, headers: { 'content-type': 'application/json' } });
    const { id } = (await send('/uploads', 'POST', '{}')).body;
    await send(`/uploads/${id}/parts/1`, 'PUT', 'first');
    expect((await send(`/uploads/${id}/parts/1`, 'PUT', bodyOf(randomBytes(1025)))).body.code).toBe('files_full');
    expect((await send(`/uploads/${id}/complete`, 'POST', '{}')).status).toBe(201);
    expect(await (await fetch(`${api.baseUrl}/files/${id}/content`)).text()).toBe('first');
    expect(await redis.keys(`again:{blob:*${id}*`)).toEqual([`again:{blob:default:${id}}`]);
    await api.stop();
  });

  test('its parts have no more bytes together than a file may', async () => {
    const id = await begin();
    for (const number of [1, 2, 3]) await putPart(id, number, randomBytes(MAX_PART));
    expect(await call('POST', `/uploads/${id}/complete`, {})).toMatchObject({ status: 413 });
  });

  test('given up, it is gone with all its parts', async () => {
    const id = await begin();
    await putPart(id, 1, Buffer.from('x'));
    expect((await call('DELETE', `/uploads/${id}`)).status).toBe(204);
    expect((await putPart(id, 1, Buffer.from('x'))).body.code).toBe('file_not_found');
    expect((await redis.keys(`oq:*${id}*`)).length).toBe(0);
  });

  test.each([{ content_type: 'no type' }, { size: 1 }, []])('%j is no upload', async (body) => {
    expect((await call('POST', '/uploads', body)).status).toBe(400);
  });
});

test('a tenant has so many files, and so many bytes in them, and no more', async () => {
  const few = await platform.startApi({ ONQUEUE_MAX_FILES: '1', ONQUEUE_KEY_PREFIX: 'few' });
  const post = (to: string, bytes: number) =>
    request<FileBody>(`${to}/files`, { method: 'POST', body: bodyOf(randomBytes(bytes)) });
  const { body } = await post(few.baseUrl, 10);
  const refused = await post(few.baseUrl, 10);
  expect([refused.status, refused.body.code, refused.headers.has('retry-after')]).toEqual([429, 'files_full', true]);
  await request(`${few.baseUrl}/files/${body.id}`, { method: 'DELETE' });
  expect((await post(few.baseUrl, 10)).status).toBe(201);
  await few.stop();

  const small = await platform.startApi({ ONQUEUE_MAX_FILES_BYTES: '2048', ONQUEUE_KEY_PREFIX: 'small' });
  expect((await post(small.baseUrl, 2000)).status).toBe(201);
  expect((await post(small.baseUrl, 49)).body.code).toBe('files_full');
  expect((await redis.keys('small:{blob:*')).length).toBe(1);
  expect((await post(small.baseUrl, 48)).status).toBe(201);
  await small.stop();
});

describe('a job by reference', () => {
  test('has a file for its image', async () => {
    const file = await stored(seven);
    const inline = { image: seven.toString('base64') };
    const job = await runJob(baseUrl, { model: 'digits', inputs: [{ image: { file } }, inline] });
    expect(job).toMatchObject({
      status: 'succeeded',
      results: [{ output: { label: '7' } }, { output: { label: '7' } }],
    });
  });

  test('goes on when its file has gone', async () => {
    for (const worker of platform.workers) worker.pause();
    const file = await stored(seven);
    const posted = await postJob(baseUrl, { model: 'digits', input: { image: { file } } });
    expect((await call('DELETE', `/files/${file}`)).status).toBe(204);
    for (const worker of platform.workers) worker.resume();
    const { body } = await request(`${baseUrl}/jobs/${posted.body.id}?wait=30`);
    expect(body.status).toBe('succeeded');
  });

  test.each([
    ['a JSON array', (rows: unknown[]) => ` \n${JSON.stringify(rows)}`],
    ['NDJSON', (rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n')],
    ['NDJSON with blank lines', (rows: unknown[]) => `${rows.map((row) => `${JSON.stringify(row)}\r\n\n`).join('')}`],
  ])('has its rows in a file of %s', async (_, write) => {
    const rows = Array.from({ length: 50 }, (_, x0) => ({ x0, x1: 0, x2: 0 }));
    const job = await runJob(baseUrl, { model: 'linear', input_file: await stored(write(rows)) });
    expect(job.results?.map(({ output }) => output?.score)).toEqual(rows.map(({ x0 }) => x0));
  });

  const row = '{"x0":1,"x1":0,"x2":0}\n';
  test.each([
    ['too many rows', row.repeat(51), 400, 'too_many_rows'],
    ['too many rows in an array', `[${Array(51).fill(row).join(',')}]`, 400, 'too_many_rows'],
    ['no rows', '\n', 400, 'invalid_request'],
    ['an empty array', '[]', 400, 'invalid_request'],
    ['a broken line', `${row}{"x0":`, 400, 'malformed_json'],
    ['a line that is no row', `${row}7\n`, 400, 'invalid_request'],
    ['a row that does not fit', `${row}{"x0":"one"}`, 400, 'invalid_request'],
    ['a nest', '['.repeat(100_000), 400, 'json_too_complex'],
    ['a key twice', '{"x0":1,"x0":2,"x1":0,"x2":0}', 400, 'invalid_request'],
    ['more bytes than a body may have', row.repeat(20_000), 413, 'payload_too_large'],
  ])('with %s is refused', async (_, content, status, code) => {
    const answer = await postJob<FileBody>(baseUrl, { model: 'linear', input_file: await stored(content) });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });

  test.each([
    [{ model: 'linear', input_file: 'file_00000000000000000000000000000000' }, '/input_file'],
    [
      { model: 'digits', inputs: [{ image: { file: 'file_00000000000000000000000000000000' } }] },
      '/inputs/0/image/file',
    ],
  ])('to a file that is not there is answered 404: %j', async (body, pointer) => {
    const answer = await postJob<FileBody>(baseUrl, body);
    expect([answer.status, answer.body.code, answer.body.errors]).toEqual([
      404,
      'file_not_found',
      [{ pointer, detail: 'there is no such file' }],
    ]);
  });

  test('to a file that is no image, or twice to rows, is refused', async () => {
    const text = await stored('no image');
    const job = await runJob(baseUrl, { model: 'digits', input: { image: { file: text } } });
    expect(job).toMatchObject({ status: 'failed' });
    const both = await postJob(baseUrl, { model: 'linear', input_file: text, inputs: [{}] });
    expect(both.status).toBe(400);
  });
});

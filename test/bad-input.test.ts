import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { postJob, request, runJob } from './support/client.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let baseUrl: string;
let fraudRow: Record<string, unknown>;

beforeAll(async () => {
  platform = await startTestPlatform({
    apiEnv: {
      ONQUEUE_MAX_ROWS_PER_JOB: '5',
      ONQUEUE_MAX_BODY_BYTES: '100000',
      ONQUEUE_MAX_JSON_NODES: '5000',
      ONQUEUE_MAX_JSON_KEYS: '1000',
    },
  });
  ({ baseUrl } = platform);
  fraudRow = (await request<{ example: Record<string, unknown> }>(`${baseUrl}/models/fraud`)).body.example;
});

afterAll(() => platform?.stop());

interface ProblemBody {
  code: string;
  status: number;
  title: string;
  detail: string;
  type: string;
  request_id: string;
  errors?: { pointer: string; detail: string }[];
}

const post = (body: unknown, headers?: Record<string, string>) => postJob<ProblemBody>(baseUrl, body, headers);
const pixels = (value: unknown) => ({ pixels: [value, ...Array(63).fill(0)] });

describe('a request that is wrong', () => {
  test('is answered as RFC 9457 says', async () => {
    const { status, headers, body } = await post({ model: 'fraud', input: { ...fraudRow, amount: 'much' } });
    expect(status).toBe(400);
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(body).toEqual({
      type: 'urn:onqueue:problem:invalid_request',
      title: 'The request is not valid.',
      status: 400,
      detail: 'A row of model "fraud" is not valid: /input/amount: invalid input: expected number, received string.',
      code: 'invalid_request',
      request_id: headers.get('x-request-id'),
      errors: [{ pointer: '/input/amount', detail: 'invalid input: expected number, received string' }],
    });
  });

  test.each([
    ['an unknown model', { model: 'nope', input: {} }, 404, 'model_not_found', '/model'],
    ['an unknown version', { model: 'fraud', version: '99', input: {} }, 404, 'version_not_found', '/version'],
    ['no model', { input: {} }, 400, 'invalid_request', '/model'],
    ['a model that is no text', { model: 7, input: {} }, 400, 'invalid_request', '/model'],
    ['an unknown field of the envelope', { model: 'fraud', input: {}, prio: 1 }, 400, 'invalid_request', '/prio'],
    ['no rows', { model: 'digits' }, 400, 'invalid_request', '/inputs'],
    ['input and inputs', { model: 'digits', input: pixels(1), inputs: [pixels(1)] }, 400, 'invalid_request', '/inputs'],
    ['an empty list of rows', { model: 'digits', inputs: [] }, 400, 'invalid_request', '/inputs'],
    ['too many rows', { model: 'digits', inputs: Array(6).fill(pixels(1)) }, 400, 'too_many_rows', '/inputs'],
    ['a row that is no object', { model: 'digits', inputs: [pixels(1), [1, 2]] }, 400, 'invalid_request', '/inputs/1'],
    ['a wrong type in a row', { model: 'digits', inputs: [pixels('x')] }, 400, 'invalid_request', '/inputs/0/pixels/0'],
    ['a value out of range', { model: 'digits', inputs: [pixels(17)] }, 400, 'invalid_request', '/inputs/0/pixels/0'],
    ['a missing field in a row', { model: 'fraud', inputs: [{}] }, 400, 'invalid_request', '/inputs/0/amount'],
    ['an unknown lane', { model: 'digits', input: pixels(1), lane: 'fast' }, 400, 'invalid_request', '/lane'],
    [
      'a webhook that is no URL',
      { model: 'digits', input: pixels(1), webhook: 'me' },
      400,
      'invalid_request',
      '/webhook',
    ],
    [
      'a webhook by ftp',
      { model: 'digits', input: pixels(1), webhook: 'ftp://x.example/' },
      400,
      'invalid_request',
      '/webhook',
    ],
    [
      'a webhook with a password',
      { model: 'digits', input: pixels(1), webhook: 'https://me:pw@x.example/' },
      400,
      'invalid_request',
      '/webhook',
    ],
    [
      'a webhook to the metadata of a cloud',
      { model: 'digits', input: pixels(1), webhook: 'http://169.254.169.254/latest' },
      400,
      'invalid_request',
      '/webhook',
    ],
    [
      'a webhook to an address that is private in disguise',
      { model: 'digits', input: pixels(1), webhook: 'http://0xa000001/' },
      400,
      'invalid_request',
      '/webhook',
    ],
    [
      'nested metadata',
      { model: 'digits', input: pixels(1), metadata: { a: {} } },
      400,
      'invalid_request',
      '/metadata/a',
    ],
    ['an array', [], 400, 'invalid_request', ''],
    ['null', null, 400, 'invalid_request', ''],
  ])('with %s points at the place', async (_, body, status, code, pointer) => {
    const answer = await post(body);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.body.errors?.map((error) => error.pointer)).toContain(pointer);
  });

  test.each([
    [
      { model: 'digits' },
      'The job is not valid: /inputs: give exactly one of `inputs` (an array of rows), `input` (one row) and `input_file`.',
    ],
    [null, 'The job is not valid: the body: invalid input: expected object, received null.'],
    [[], 'The job is not valid: the body: invalid input: expected object, received array.'],
    [{}, 'The job is not valid: /model: this field is required.'],
  ])('says what is wrong with %j in words that read well', async (body, detail) => {
    expect((await post(body)).body.detail).toBe(detail);
  });

  test('with an extra field in a row points at it', async () => {
    const { body } = await post({ model: 'fraud', input: { ...fraudRow, note: 1 } });
    expect(body.errors).toEqual([{ pointer: '/input/note', detail: 'unknown field' }]);
  });

  test.each([
    ['NaN', '{"model":"digits","input":{"pixels":[NaN]}}', 400, 'malformed_json'],
    ['a cut body', '{"model":"digits",', 400, 'malformed_json'],
    ['an empty body', '', 400, 'malformed_json'],
    ['1e400', JSON.stringify({ model: 'digits', input: pixels(1) }).replace('[1,', '[1e400,'), 400, 'invalid_request'],
    ['__proto__ in a row', '{"model":"digits","input":{"pixels":[],"__proto__":{"a":1}}}', 400, 'invalid_request'],
    [
      '__proto__ in metadata',
      '{"model":"digits","input":{"pixels":[]},"metadata":{"__proto__":1}}',
      400,
      'invalid_request',
    ],
    ['__proto__ in disguise', '{"model":"digits","input":{"__pro\\u0074o__":1}}', 400, 'invalid_request'],
    ['100,000 brackets', '['.repeat(100_000), 400, 'json_too_complex'],
    ['100,000 open objects', '{"a":'.repeat(19_000), 400, 'json_too_complex'],
    ['more values than allowed', `[${'1,'.repeat(5000)}1]`, 400, 'json_too_complex'],
    ['more keys than allowed', `[${'{"a":1},'.repeat(1000)}{"a":1}]`, 400, 'json_too_complex'],
    ['as many keys as allowed, in a body that is no job', `[${'{"a":1},'.repeat(999)}{"a":1}]`, 400, 'invalid_request'],
    ['a body that is too large', `{"model":"${'a'.repeat(100_000)}"}`, 413, 'payload_too_large'],
  ])('with %s is refused quickly', async (_, body, status, code) => {
    const answer = await post(body);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.durationMs).toBeLessThan(1000);
  });

  test.each([
    ['{"model":"fraud","model":"digits","input":{}}', 'model', '/model'],
    ['{"model":"digits","inputs":[{"pixels":[]},{"pixels":[],"p\\u0069xels":[]}]}', 'pixels', '/inputs/1/pixels'],
  ])('with a key that is there twice is refused: %s', async (body, name, pointer) => {
    const answer = await post(body);
    expect([answer.status, answer.body.code, answer.body.detail, answer.body.errors]).toEqual([
      400,
      'invalid_request',
      `The key "${name}" is there twice.`,
      [{ pointer, detail: 'this key is there twice' }],
    ]);
  });

  test('leaves the prototype of objects alone', async () => {
    await post('{"model":"digits","input":{"__proto__":{"polluted":1}}}');
    expect(await runJob(baseUrl, { model: 'digits', input: pixels(3) })).not.toHaveProperty('polluted');
  });

  test.each([
    ['text/plain', {}],
    ['application/x-www-form-urlencoded', {}],
    ['application/json; charset=latin1', {}],
    ['application/json', { 'content-encoding': 'gzip' }],
  ])('as %s is answered 415', async (contentType, headers) => {
    const answer = await post('{}', { 'content-type': contentType, ...headers });
    expect([answer.status, answer.body.code]).toEqual([415, 'unsupported_media_type']);
  });

  test('that is not UTF-8 is answered 400', async () => {
    const answer = await request<ProblemBody>(`${baseUrl}/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array([0x22, 0xff, 0xfe, 0x22]),
    });
    expect([answer.status, answer.body.code]).toEqual([400, 'malformed_json']);
  });

  test.each([
    ['/jobs', 'DELETE', 'GET, POST, HEAD, OPTIONS'],
    ['/jobs/a/result', 'POST', 'GET, HEAD, OPTIONS'],
    ['/jobs/a/cancel', 'PUT', 'POST, OPTIONS'],
    ['/jobs/a', 'PUT', 'GET, DELETE, HEAD, OPTIONS'],
    ['/models', 'POST', 'GET, HEAD, OPTIONS'],
    ['/livez', 'POST', 'GET, HEAD, OPTIONS'],
  ])('to %s by %s is told which methods are allowed', async (path, method, allowed) => {
    const answer = await request<ProblemBody>(`${baseUrl}${path}`, { method });
    expect([answer.status, answer.body.code, answer.headers.get('allow')]).toEqual([
      405,
      'method_not_allowed',
      allowed,
    ]);
    const asked = await request(`${baseUrl}${path}`, { method: 'OPTIONS' });
    expect([asked.status, asked.body, asked.headers.get('allow')]).toEqual([204, '', allowed]);
  });

  test('with a key of 90 KB is answered with the beginning of it', async () => {
    const { body } = await post({ model: 'digits', input: pixels(1), ['k'.repeat(90_000)]: 1 });
    expect(body.errors).toEqual([{ pointer: `/${'k'.repeat(198)}…`, detail: 'unknown field' }]);
    expect(body.detail.length).toBeLessThanOrEqual(500);
  });

  test('by HEAD is answered as by GET, without a body', async () => {
    const head = async (path: string) => (await fetch(`${baseUrl}${path}`, { method: 'HEAD' })).status;
    expect([await head('/models'), await head('/models/nope')]).toEqual([200, 404]);
  });

  test.each(['/', '/job', '/jobs/a/b', '/models/a/b/c'])('to %s finds nothing', async (path) => {
    expect(await request(`${baseUrl}${path}`)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  test.each(['?wait=abc', '?wait=-1', '?wait=1.5', '?wait=1&wait=2'])('with %s is answered 400', async (query) => {
    expect(await request(`${baseUrl}/jobs/job_x${query}`)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '?wait' }] },
    });
  });

  test.each([
    ['GET', '/jobs/job_x?WAIT=5', '?WAIT', 'there is wait'],
    ['GET', '/jobs/job_x?wait[]=5', '?wait[]', 'there is wait'],
    ['GET', '/jobs/job_x?wait=5&foo', '?foo', 'there is wait'],
    ['POST', '/jobs?foo=1', '?foo', 'there is dry_run'],
    ['POST', '/jobs/job_x/cancel?foo=1', '?foo', 'there are none here'],
    ['POST', '/jobs/job_x/retry?foo=1', '?foo', 'there is rows'],
    ['GET', '/jobs/job_x/runs?foo=1', '?foo', 'there are none here'],
    ['GET', '/models?__proto__=1', '?__proto__', 'there are none here'],
    ['GET', '/models/fraud?foo=1', '?foo', 'there are none here'],
  ])('by %s %s is told that there is no such parameter', async (method, path, pointer, remedy) => {
    expect(await request(`${baseUrl}${path}`, { method })).toMatchObject({
      status: 400,
      body: {
        code: 'invalid_request',
        detail: `There is no query parameter "${pointer.slice(1)}"; ${remedy}.`,
        errors: [{ pointer, detail: `unknown parameter; ${remedy}` }],
      },
    });
  });

  test('with a broken escape in the path is answered 400', async () => {
    expect(await request(`${baseUrl}/jobs/%zz`)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  test.each([
    ['is no HTTP at all', 'nonsense\r\n\r\n', 400, 'malformed_http'],
    ['has no Host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'malformed_http'],
    [
      'expects something strange',
      'GET /livez HTTP/1.1\r\nHost: x\r\nExpect: cake\r\nConnection: close\r\n\r\n',
      417,
      'expectation_failed',
    ],
    ['has 20 KB of headers', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
  ])('that %s is answered as a problem and closed', async (_, sent, status, code) => {
    const answer = await rawAnswer(sent);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} .*content-type: application/problem\\+json`, 'is'));
    expect(answer).toContain(`"code":"${code}"`);
  });

  test('that expects 100-continue, or is HTTP/1.0 without a Host, is served', async () => {
    const sent = 'GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n';
    expect(await rawAnswer(sent)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/);
    expect(await rawAnswer('GET /livez HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200/);
  });
});

describe('limits', () => {
  test('let through what is just allowed', async () => {
    expect(await post({ model: 'digits', inputs: Array(5).fill(pixels(1)) })).toMatchObject({ status: 202 });
    const metadata = Object.fromEntries(
      Array.from({ length: 50 }, (_, n) => [`${n}`.padStart(40, 'k'), 'v'.repeat(500)]),
    );
    expect(await post({ model: 'digits', input: pixels(1), metadata })).toMatchObject({ status: 202 });
  });

  test('of metadata are 50 keys of 40 characters, values of 500', async () => {
    const refused = async (metadata: Record<string, unknown>) =>
      expect(await post({ model: 'digits', input: pixels(1), metadata })).toMatchObject({ status: 400 });
    await refused(Object.fromEntries(Array.from({ length: 51 }, (_, n) => [n, n])));
    await refused({ ['k'.repeat(41)]: 1 });
    await refused({ k: 'v'.repeat(501) });
  });
});

describe('an image', () => {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const seven = () => readFile('models/digits/1/samples/seven.png');
  const rowError = async (image: string) => {
    const job = await runJob(baseUrl, { model: 'digits', input: { image } });
    return [job.status, job.error?.code, job.attempt];
  };

  test('is read as base64 and as a data URL', async () => {
    const text = base64(await seven());
    const job = await runJob(baseUrl, {
      model: 'digits',
      inputs: [{ image: text }, { image: `data:image/png;base64,${text}` }],
    });
    expect(job.results?.map(({ output }) => output?.label)).toEqual(['7', '7']);
  });

  test('that is cut short ends as invalid_image, at the first attempt', async () => {
    const bytes = await seven();
    expect(await rowError(base64(bytes.subarray(0, bytes.length - 200)))).toEqual(['failed', 'invalid_image', 1]);
  });

  test('of 256 megapixels is refused by its header', async () => {
    expect(await rowError(base64(pngHeader(16_384, 16_384)))).toEqual(['failed', 'image_too_large', 1]);
  });

  test.each([
    ['text', base64(Buffer.from('hello')), /invalid_image|unsupported_image_format/],
    ['no base64', '!!!!', /invalid_image/],
    [
      'SVG',
      base64(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>')),
      /unsupported_image_format|invalid_image/,
    ],
    ['GIF', 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', /unsupported_image_format/],
  ])('that is %s fails its row for good', async (_, image, code) => {
    const [status, error, attempt] = await rowError(image);
    expect([status, attempt]).toEqual(['failed', 1]);
    expect(error).toMatch(code);
  });

  test('that fails leaves its neighbours alone', async () => {
    const job = await runJob(baseUrl, {
      model: 'digits',
      inputs: [pixels(1), { image: 'AAAA' }, { image: base64(await seven()) }],
      on_row_error: 'continue',
    });
    expect(job.results?.map(({ status }) => status)).toEqual(['succeeded', 'failed', 'succeeded']);
  });
});

test('nothing of all this was answered 500', async () => {
  const { body } = await request<string>(`${baseUrl}/metrics`);
  expect(body).toMatch(/^onqueue_jobs_refused_total\{problem="invalid_request"\} \d+$/m);
  expect(body).not.toMatch(/problem="internal_error"/);
  const failed = body.match(/^onqueue_http_request_duration_seconds_count\{.*status="5.*$/gm) ?? [];
  // It was asked before it was ready.
  expect(failed.filter((line) => !line.includes('route="/readyz"'))).toEqual([]);
});

/** What comes back for these bytes until the server closes. */
function rawAnswer(sent: string): Promise<string> {
  const { hostname, port } = new URL(baseUrl);
  return new Promise<string>((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(sent));
    let text = '';
    socket
      .on('data', (chunk) => (text += chunk))
      .on('end', () => resolve(text))
      .on('error', reject);
  });
}

/** A PNG that says how large it is, and goes no further than its header and an empty end. */
function pngHeader(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 6, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk('IHDR', header),
    pngChunk('IDAT', Buffer.from('789c030000000001', 'hex')),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}

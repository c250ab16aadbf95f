import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, acceptedJob, endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { ApiDocument, type MediaType, type OpenApi } from './support/openapi/api-document.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
let api: ApiDocument;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
  ({ baseUrl } = platform);
  api = new ApiDocument((await request<OpenApi>(`${baseUrl}/openapi.json`)).body);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

/** What the document leaves open in a reply; nothing when the reply is as it says. */
function faultsOf(method: string, path: string, { status, headers, body }: Answer<unknown>): string | undefined {
  const contentType = headers.get('content-type');
  return api.faultOf(api.operation(method, path), { status, contentType, headers: Object.fromEntries(headers), body });
}

const linear = { x0: 1, x1: 0, x2: 0 };

describe('every reply is as /openapi.json says', () => {
  test('of a job, from its post to its end', async () => {
    const posted = await postJob(baseUrl, { model: 'linear', inputs: [linear, linear], metadata: { order: 7 } });
    expect(faultsOf('post', '/jobs', posted)).toBeUndefined();
    const { id } = await endedJob(baseUrl, posted.body.id);
    expect(faultsOf('get', '/jobs/{id}', await request(`${baseUrl}/jobs/${id}`))).toBeUndefined();
    expect(faultsOf('get', '/jobs/{id}/runs', await request(`${baseUrl}/jobs/${id}/runs`))).toBeUndefined();
    const waited = await postJob(baseUrl, { model: 'linear', input: linear }, { prefer: 'wait=30' });
    expect([waited.status, faultsOf('post', '/jobs', waited)]).toEqual([200, undefined]);
  });

  test('of a job that fails, is canceled and runs again', async () => {
    const failed = await postJob(baseUrl, { model: 'lookup', input: { index: 1e6 } }, { prefer: 'wait=30' });
    expect([failed.body.status, faultsOf('post', '/jobs', failed)]).toEqual(['failed', undefined]);
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 20_000 } });
    const act = (action: string) => request(`${baseUrl}/jobs/${id}/${action}`, { method: 'POST' });
    expect(faultsOf('post', '/jobs/{id}/cancel', await act('cancel'))).toBeUndefined();
    const again = await act('retry');
    expect([again.status, faultsOf('post', '/jobs/{id}/retry', again)]).toEqual([202, undefined]);
    expect(faultsOf('post', '/jobs/{id}/retry', await act('retry'))).toBeUndefined();
    expect(faultsOf('post', '/jobs/{id}/cancel', await act('cancel'))).toBeUndefined();
  });

  test.each([
    [{ model: 'nowhere', input: {} }, 404],
    [{ model: 'linear', version: '99', input: linear }, 404],
    [{ model: 'linear', input: { x0: 'one' } }, 400],
    ['{', 400],
  ])('of a post that is refused: %j', async (body, status) => {
    const answer = await postJob<unknown>(baseUrl, body);
    expect([answer.status, faultsOf('post', '/jobs', answer)]).toEqual([status, undefined]);
  });

  test('of results, lists, streams and deletions', async () => {
    const { id } = await endedJob(baseUrl, await acceptedJob(baseUrl, { model: 'linear', input: linear }));
    const get = (path: string, headers: Record<string, string> = {}) => request(`${baseUrl}${path}`, { headers });
    expect(faultsOf('get', '/jobs', await get('/jobs?limit=1'))).toBeUndefined();
    expect(faultsOf('get', '/jobs', await get('/jobs?limit=0'))).toBeUndefined();
    expect(faultsOf('get', '/jobs/{id}/result', await get(`/jobs/${id}/result`))).toBeUndefined();
    const line = await get(`/jobs/${id}/result`, { accept: 'application/x-ndjson' });
    expect(faultsOf('get', '/jobs/{id}/result', line)).toBeUndefined();
    expect(faultsOf('get', '/jobs/{id}/events', await get(`/jobs/${id}/events`))).toBeUndefined();
    const remove = () => request(`${baseUrl}/jobs/${id}`, { method: 'DELETE' });
    expect(faultsOf('delete', '/jobs/{id}', await remove())).toBeUndefined();
    expect(faultsOf('get', '/jobs/{id}', await get(`/jobs/${id}`))).toBeUndefined();
    expect(faultsOf('get', '/jobs/{id}/result', await get(`/jobs/${id}/result`))).toBeUndefined();
  });

  test('of what operators do, and of bulk retries', async () => {
    expect(faultsOf('get', '/admin/queues', await request(`${baseUrl}/admin/queues`))).toBeUndefined();
    const lane = '/admin/models/{name}/lanes/{lane}';
    for (const action of ['pause', 'drain', 'resume', 'purge']) {
      const answer = await request(`${baseUrl}/admin/models/linear/lanes/bulk/${action}`, { method: 'POST' });
      expect([answer.status, faultsOf('post', `${lane}/${action}`, answer)]).toEqual([200, undefined]);
    }
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
    expect(faultsOf('post', '/jobs/retry', await request(`${baseUrl}/jobs/retry`, init))).toBeUndefined();
  });

  test('of a dry run, and of a job with all that it may ask for', async () => {
    const body = JSON.stringify({
      model: 'linear',
      input: linear,
      service_class: 'realtime',
      delay: 0.2,
      retention: 60,
    });
    const headers = { 'content-type': 'application/json' };
    const planned = await request(`${baseUrl}/jobs?dry_run=1`, { method: 'POST', headers, body });
    expect([planned.status, faultsOf('post', '/jobs', planned)]).toEqual([200, undefined]);
    const posted = await postJob(baseUrl, body);
    expect(faultsOf('get', '/jobs/{id}', await request(`${baseUrl}/jobs/${posted.body.id}`))).toBeUndefined();
    await endedJob(baseUrl, posted.body.id);
  });

  test('of files and uploads', async () => {
    const send = (method: string, path: string, body: string, type = 'application/json') =>
      request<{ id: string }>(`${baseUrl}${path}`, { method, headers: { 'content-type': type }, body });
    const stored = await send('POST', '/files', 'content', 'text/plain');
    expect([stored.status, faultsOf('post', '/files', stored)]).toEqual([201, undefined]);
    expect(faultsOf('get', '/files/{id}', await request(`${baseUrl}/files/${stored.body.id}`))).toBeUndefined();
    expect(faultsOf('get', '/files/{id}', await request(`${baseUrl}/files/none`))).toBeUndefined();
    const begun = await send('POST', '/uploads', '{}');
    expect([begun.status, faultsOf('post', '/uploads', begun)]).toEqual([201, undefined]);
    const { id } = begun.body;
    const early = await send('POST', `/uploads/${id}/complete`, '{}');
    expect([early.status, faultsOf('post', '/uploads/{id}/complete', early)]).toEqual([409, undefined]);
    const part = await send('PUT', `/uploads/${id}/parts/1`, 'content', 'text/plain');
    expect(faultsOf('put', '/uploads/{id}/parts/{number}', part)).toBeUndefined();
    expect(faultsOf('get', '/uploads/{id}', await request(`${baseUrl}/uploads/${id}`))).toBeUndefined();
    const complete = await send('POST', `/uploads/${id}/complete`, '{}');
    expect([complete.status, faultsOf('post', '/uploads/{id}/complete', complete)]).toEqual([201, undefined]);
  });

  test('of models', async () => {
    expect(faultsOf('get', '/models', await request(`${baseUrl}/models`))).toBeUndefined();
    expect(faultsOf('get', '/models/{name}', await request(`${baseUrl}/models/linear`))).toBeUndefined();
    expect(faultsOf('get', '/models/{name}', await request(`${baseUrl}/models/nowhere`))).toBeUndefined();
  });

  test('of probes, metrics and the document itself', async () => {
    for (const path of ['/livez', '/readyz', '/metrics', '/openapi.json']) {
      expect(faultsOf('get', path, await request(`${baseUrl}${path}`))).toBeUndefined();
    }
  });

  test('and a stray one is found', async () => {
    const answer = await request(`${baseUrl}/livez`);
    expect(faultsOf('get', '/livez', { ...answer, body: { status: 'well' } })).toBeDefined();
    expect(faultsOf('get', '/livez', { ...answer, body: { status: 'ok', more: 1 } })).toBeDefined();
    expect(faultsOf('get', '/livez', { ...answer, status: 418 })).toBeDefined();
    const withHeaders = (headers: Record<string, string>) =>
      faultsOf('get', '/livez', { ...answer, headers: new Headers(headers) });
    expect(withHeaders({ 'content-type': 'application/json' })).toContain('there is no X-Request-Id');
    const sound = { 'content-type': 'application/json', 'x-request-id': 'a' };
    expect(withHeaders(sound)).toBeUndefined();
    expect(withHeaders({ ...sound, 'x-request-id': 'a b' })).toContain('X-Request-Id is not as its schema');
    expect(withHeaders({ ...sound, etag: '"x"' })).toContain('ETag is not documented');
  });
});

describe('has an example', () => {
  /** Every body that a client sends or is sent, but those that tell of problems: all of these look alike. */
  function bodies(): [place: string, type: string, media: MediaType][] {
    const { paths, webhooks } = api.document;
    const operations = [...Object.entries(paths), ...Object.entries(webhooks)].flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ place: `${method} ${path}`, operation })),
    );
    return operations.flatMap(({ place, operation: { requestBody, responses } }) => [
      ...Object.entries(requestBody?.content ?? {}).map(([type, media]): [string, string, MediaType] => [
        place,
        type,
        media,
      ]),
      ...Object.entries(responses)
        .filter(([status]) => /^[12]/.test(status))
        .flatMap(([status, { content = {} }]) =>
          Object.entries(content).map(([type, media]): [string, string, MediaType] => [
            `${status} of ${place}`,
            type,
            media,
          ]),
        ),
    ]);
  }

  const examplesOf = ({ example, examples = {} }: MediaType): unknown[] => [
    ...(example === undefined ? [] : [example]),
    ...Object.values(examples).map(({ value }) => value),
  ];

  test('of every request, every reply and every webhook', () => {
    const without = bodies().filter(([, , media]) => examplesOf(media).length === 0);
    expect(without.map(([place, type]) => `${type}, ${place}`)).toEqual([]);
    expect(bodies().length).toBeGreaterThan(40);
  });

  test('that its schema allows', () => {
    for (const [place, type, media] of bodies()) {
      const values = examplesOf(media).flatMap((example) =>
        type === 'application/x-ndjson' ? String(example).trimEnd().split('\n').map(parse) : [example],
      );
      for (const value of values) {
        expect([place, type, api.schemaFaults(media.schema ?? {}, value)]).toEqual([place, type, undefined]);
      }
    }
  });

  const parse = (line: string): unknown => JSON.parse(line);

  test('that is closed: a member that nobody knows is a fault', () => {
    const { schema = {}, example } =
      api.operation('get', '/jobs/{id}').responses['200']?.content?.['application/json'] ?? {};
    expect(api.schemaFaults(schema, example)).toBeUndefined();
    expect(api.schemaFaults(schema, { ...(example as object), more: 1 })).toBeDefined();
  });
});

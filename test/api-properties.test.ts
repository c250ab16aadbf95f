import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { acceptedJob, endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { ApiDocument, type OpenApi, type Operation } from './support/openapi/api-document.ts';
import { mutations } from './support/openapi/mutations.ts';
import { draftsOf, type Known, type RequestDraft, toRawRequest } from './support/openapi/request-drafts.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { RawClient, type RawReply } from './support/raw-request.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

/**
 * Every operation of `/openapi.json`, with requests as the document allows them and with broken ones. Nothing here names a
 * route: what the document has is driven. `API_TEST_SEED` tries others, `API_TEST_RUNS` more; a failure tells its seed.
 */
const SEED = Number(process.env.API_TEST_SEED ?? 20_261_130);
/** Of an operation. */
const RUNS = Number(process.env.API_TEST_RUNS ?? 80);
/** On a slow machine there are fewer runs, and no failure. */
const TIME_LIMIT_MS = RUNS * 200;

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
let client: RawClient;
let api: ApiDocument;
let receiver: Receiver;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_MAX_WAIT_S: '1', ONQUEUE_INDEXED_METADATA: 'order' },
  });
  ({ baseUrl } = platform);
  client = new RawClient(baseUrl);
  api = new ApiDocument((await request<OpenApi>(`${baseUrl}/openapi.json`)).body);
});

afterAll(async () => {
  client?.close();
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

const row = { x0: 1, x1: 2, x2: 3 };

/** What exists on the server, anew for each operation: the one before may have deleted, drained or unloaded it. */
async function prepare(): Promise<Known> {
  const post = (path: string, body?: unknown) =>
    request<{ id: string }>(`${baseUrl}${path}`, {
      method: 'POST',
      ...(body === undefined
        ? {}
        : {
            headers: { 'content-type': 'application/json' },
            body: typeof body === 'string' ? body : JSON.stringify(body),
          }),
    });
  const names = ['linear', 'lookup', 'slow', 'crash'];
  for (const name of names) {
    for (const lane of ['interactive', 'bulk']) await post(`/admin/models/${name}/lanes/${lane}/resume`);
    for (const order of [{}, { version: '1' }]) await post(`/models/${name}/load`, order);
  }
  const accepted = (order: Record<string, unknown>) =>
    until('the job is accepted', async () => {
      const { status, body } = await postJob(baseUrl, order);
      return status === 202 && body.id;
    });
  const succeeded = await accepted({ model: 'linear', input: row, metadata: { order: 'A-7' } });
  await endedJob(baseUrl, succeeded);
  const failed = await accepted({ model: 'lookup', input: { index: 1e6 } });
  await endedJob(baseUrl, failed);
  const queued = await acceptedJob(baseUrl, { model: 'linear', input: row, delay: 600 });
  const canceled = await acceptedJob(baseUrl, { model: 'linear', input: row, delay: 600 });
  await post(`/jobs/${canceled}/cancel`);
  const file = (await post('/files', JSON.stringify([row]))).body.id;
  const upload = (await post('/uploads', {})).body.id;
  const part = { method: 'PUT', headers: { 'content-type': 'text/plain' }, body: '[]' };
  await request(`${baseUrl}/uploads/${upload}/parts/1`, part);
  const { endpoint, delivery } = await prepareWebhooks(post);
  // The one without keys can be deleted. Both stay from one operation to the next, unless that has ended them.
  for (const id of ['acme', 'idle']) await post('/admin/tenants', { id });
  const key = (await post('/admin/keys', { tenant: 'acme' })).body.id;
  return {
    // biome-ignore format: a row for each kind.
    id: [
      succeeded, succeeded, failed, failed, queued, canceled, canceled,
      file, file, upload, upload, endpoint, endpoint, delivery, delivery, key, key, 'acme', 'idle', 'idle', 'none',
    ],
    url: [receiver.url()],
    webhook: [receiver.url()],
    endpoint: [endpoint],
    tenant: ['acme', 'default', 'nobody'],
    starting_after: [succeeded, '1-0', '1-2'],
    'Last-Event-ID': ['1-0', '1-2', '9-9'],
    model: ['linear', 'linear', 'linear', 'lookup', 'nowhere'],
    name: ['linear', 'linear', 'lookup', 'nowhere'],
    version: ['1', '9'],
    input: [row, { x0: 'one' }, { index: 1 }],
    inputs: [[row], [row, row], [{}]],
    input_file: [file, upload],
    job: [JSON.stringify({ input: row })],
    image: [[]],
    number: ['1', '2'],
    asset: ['openapi.js', 'swagger-ui.css', 'none.js'],
    metadata: [{ order: 'A-7' }],
    lane: ['interactive', 'bulk'],
    delay: [600],
    wait: ['0', '1'],
    Prefer: ['wait=1', 'respond-async'],
    'Idempotency-Key': ['one', 'other'],
    dry_run: ['1', '0'],
    rows: ['all', 'unfinished'],
    'Cancel-After': ['1m', '1 year'],
    Accept: ['application/x-ndjson', 'application/json', 'text/html'],
    'If-None-Match': ['*', 'W/"x"'],
    'Content-Digest': ['sha-256=:x:', 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:'],
    created_after: ['2020-01-01T00:00:00Z'],
    created_before: ['2099-01-01T00:00:00Z'],
  };
}

type Post = (path: string, body?: unknown) => Promise<{ body: { id: string } }>;
type Listed = { data: { id: string }[] };

/** An endpoint, and what was delivered to it. Those of the operation before are removed: there may be so many. */
async function prepareWebhooks(post: Post): Promise<{ endpoint: string; delivery: string }> {
  const { body: standing } = await request<Listed>(`${baseUrl}/webhooks/endpoints`);
  for (const { id } of standing.data) await request(`${baseUrl}/webhooks/endpoints/${id}`, { method: 'DELETE' });
  const { id: endpoint } = (await post('/webhooks/endpoints', { url: receiver.url(), events: ['job.expired'] })).body;
  await post(`/webhooks/endpoints/${endpoint}/test`);
  const delivery = await until('its delivery has ended', async () => {
    const { body } = await request<Listed>(`${baseUrl}/webhooks/deliveries?endpoint=${endpoint}&status=delivered`);
    return body.data[0]?.id ?? false;
  });
  return { endpoint, delivery };
}

function faultOf(operation: Operation, reply: RawReply): string | undefined {
  if (reply.status >= 500 && reply.status !== 503) return `${reply.status}: ${JSON.stringify(reply.body)}`;
  if (!/^[\w.-]{1,128}$/.test(String(reply.headers['x-request-id']))) return 'there is no X-Request-Id';
  if (reply.status === 503 && !reply.headers['retry-after']) return 'a 503 has no Retry-After';
  return api.faultOf(operation, reply);
}

/** How often each status came, to be told at the end. */
const statuses = new Map<string, Map<number, number>>();

async function drive(operation: Operation): Promise<Map<number, number>> {
  const drafts = draftsOf(operation, api, await prepare());
  const seen = new Map<number, number>();
  const send = async (draft: RequestDraft) => {
    const reply = await client.send(toRawRequest(draft));
    seen.set(reply.status, (seen.get(reply.status) ?? 0) + 1);
    expect(faultOf(operation, reply)).toBeUndefined();
  };
  const broken = fc.tuple(drafts, fc.array(mutations(), { minLength: 1, maxLength: 2 })).map(([draft, changes]) => {
    return changes.reduce((changed, mutate) => mutate(changed), draft);
  });
  await fc.assert(
    fc.asyncProperty(fc.oneof({ arbitrary: drafts, weight: 1 }, { arbitrary: broken, weight: 2 }), send),
    {
      seed: SEED,
      numRuns: RUNS,
      interruptAfterTimeLimit: TIME_LIMIT_MS,
    },
  );
  return seen;
}

test('every reply to any request is as /openapi.json says, and none is an error of ours', async () => {
  const failures: string[] = [];
  for (const operation of api.operations) {
    const name = `${operation.method} ${operation.path}`;
    await drive(operation).then(
      (seen) => statuses.set(name, seen),
      (error: Error) => failures.push(`${name}: ${error.message}\n${String(error.cause)}`),
    );
  }
  console.info(
    [
      `seed ${SEED}`,
      ...[...statuses].map(([name, seen]) => `${name} ${JSON.stringify(Object.fromEntries(seen))}`),
    ].join('\n'),
  );
  expect(failures).toEqual([]);
  // Requests that are only ever refused would prove little.
  const neverServed = [...statuses].filter(([, seen]) => ![...seen.keys()].some((status) => status < 400));
  expect(neverServed.map(([name]) => name)).toEqual([]);
  expect(platform.apis[0]?.logs().filter((line) => /"level":[56]0/.test(line))).toEqual([]);
}, 900_000);

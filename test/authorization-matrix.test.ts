import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  API_KEY_SCOPES,
  type ApiKeyScope,
  newApiKeyId,
  newApiKeyText,
  newJobId,
  parseJobId,
  TENANT_DEFAULTS,
} from '@onqueue/shared';
import { bearer, type KeyBench, openKeyBench, TEST_ACTOR } from './support/keys.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { ApiDocument, type OpenApi, type Operation } from './support/openapi/api-document.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

/**
 * Each operation of `/openapi.json` with every kind of key. Nothing here says which scope an operation needs: the document
 * does, and the server is held to it. What belongs to another tenant is answered as what is not there, to the byte.
 */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let bench: KeyBench;
let receiver: Receiver;
let api: ApiDocument;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_AUTH: 'on', ONQUEUE_MAX_WAIT_S: '1' },
  });
  ({ baseUrl } = platform);
  bench = await openKeyBench(platform.redisUrl);
  api = new ApiDocument((await (await fetch(`${baseUrl}/openapi.json`)).json()) as OpenApi);
  for (const id of ['acme', 'globex']) {
    await bench.tenants.create(id, { name: id, ...TENANT_DEFAULTS }, TEST_ACTOR);
  }
});
afterAll(async () => {
  await bench?.close();
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

const row = { x0: 1, x1: 2, x2: 3 };
const REQUEST_ID = 'req_of_the_matrix';

interface Reply {
  status: number;
  headers: Headers;
  text: string;
}

async function send(operation: Operation, path: string, key: string | undefined, body?: unknown): Promise<Reply> {
  const types = Object.keys(operation.requestBody?.content ?? {});
  const type = types.includes('application/json') || types.length === 0 ? 'application/json' : 'text/plain';
  const example = operation.requestBody?.content['application/json']?.example;
  const sent = type === 'text/plain' ? 'content' : JSON.stringify(body ?? example ?? {});
  const response = await fetch(`${baseUrl}${path}`, {
    method: operation.method,
    headers: {
      'x-request-id': REQUEST_ID,
      ...(key === undefined ? {} : { authorization: key }),
      ...(operation.requestBody ? { 'content-type': type } : {}),
    },
    ...(operation.requestBody ? { body: sent } : {}),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const scopeOf = (operation: Operation): ApiKeyScope | undefined =>
  (operation as Operation & { security: { ApiKey: [ApiKeyScope] }[] }).security[0]?.ApiKey[0];

/** A path of the operation about nothing that exists. */
const anyPath = ({ path }: Operation) =>
  path
    .replaceAll('{name}', 'linear')
    .replaceAll('{lane}', 'bulk')
    .replaceAll('{asset}', 'openapi.js')
    .replace(/\{\w+\}/g, '1');

const others = (scope: ApiKeyScope) => API_KEY_SCOPES.filter((one) => one !== scope);

test('every operation says which scope it needs, or that it needs none', () => {
  const open = api.operations.filter((operation) => scopeOf(operation) === undefined).map(({ path }) => path);
  expect(open.sort()).toEqual(['/docs', '/docs/{asset}', '/livez', '/openapi.json', '/readyz']);
  const scopes = new Set(api.operations.map(scopeOf));
  expect(scopes).toEqual(new Set([undefined, ...API_KEY_SCOPES]));
  expect(api.operations.length).toBeGreaterThan(50);
});

test('without a right key nothing of it is served', async () => {
  const all = API_KEY_SCOPES;
  const right = await bench.key(all);
  const revoked = await bench.key(all);
  await bench.keys.revoke(revoked.split('_')[2] ?? '', TEST_ACTOR);
  const expired = await bench.key(all, { expiresMs: Date.now() - 1000 });
  const wrong: [what: string, header: string | undefined][] = [
    ['no key', undefined],
    ['an empty one', 'Bearer '],
    ['another scheme', `Basic ${Buffer.from(`key:${right}`).toString('base64')}`],
    ['no scheme', right],
    ['a malformed one', 'Bearer oq_live_x_y'],
    ['a truncated one', `Bearer ${right.slice(0, -1)}`],
    ['a longer one', `Bearer ${right}0`],
    ['another secret', `Bearer ${newApiKeyText({ env: 'test', id: right.split('_')[2] ?? '' })}`],
    ['another environment', `Bearer ${right.replace('oq_test', 'oq_live')}`],
    ['an unknown one', `Bearer ${newApiKeyText({ env: 'test', id: newApiKeyId() })}`],
    ['one that was revoked', `Bearer ${revoked}`],
    ['one that has expired', `Bearer ${expired}`],
  ];
  for (const operation of api.operations.filter((one) => scopeOf(one) !== undefined)) {
    for (const [what, header] of wrong) {
      const { status, headers, text } = await send(operation, anyPath(operation), header);
      const place = `${operation.method} ${operation.path} with ${what}`;
      expect([place, status, JSON.parse(text).code]).toEqual([place, 401, 'unauthorized']);
      expect(headers.get('www-authenticate')).toBe(header === undefined ? 'Bearer' : 'Bearer error="invalid_token"');
      const fault = api.faultOf(operation, {
        status,
        contentType: headers.get('content-type'),
        headers: Object.fromEntries(headers),
        body: JSON.parse(text),
      });
      expect(fault).toBeUndefined();
    }
  }
  // An unknown key and a wrong secret are told apart by nobody.
  const [operation] = api.operations as [Operation];
  const answers = await Promise.all(
    wrong
      .filter(([what]) => what === 'another secret' || what === 'an unknown one')
      .map(([, header]) => send(operation, '/jobs', header)),
  );
  expect(answers[0]?.text).toBe(answers[1]?.text);
});

test('a key that has every scope but the one is refused, and one that has no other is not', async () => {
  const without = new Map<ApiKeyScope, string>();
  const only = new Map<ApiKeyScope, string>();
  for (const scope of API_KEY_SCOPES) {
    without.set(scope, await bench.key(others(scope)));
    only.set(scope, await bench.key([scope]));
  }
  for (const operation of api.operations) {
    const scope = scopeOf(operation);
    const place = `${operation.method} ${operation.path}`;
    if (scope === undefined) {
      const open = await send(operation, anyPath(operation), undefined);
      expect([place, open.status]).toEqual([place, 200]);
      continue;
    }
    const refused = await send(operation, anyPath(operation), `Bearer ${without.get(scope)}`);
    expect([place, refused.status, JSON.parse(refused.text).code]).toEqual([place, 403, 'insufficient_scope']);
    expect(refused.headers.get('www-authenticate')).toBe(`Bearer error="insufficient_scope", scope="${scope}"`);
    const served = await send(operation, anyPath(operation), `Bearer ${only.get(scope)}`);
    expect([place, served.status === 401 || served.status === 403, served.status >= 500]).toEqual([
      place,
      false,
      false,
    ]);
  }
});

test.each([
  '/ADMIN/keys',
  '/admin/keys/',
  '/Admin/Queues',
  '//admin/keys',
  '/%61dmin/keys',
  '/admin%2Fkeys',
  '/admin/nothing',
  '/x/../admin/keys',
])("GET %s shows an operator's things to no other key", async (path) => {
  const key = await bench.key(others('admin'));
  const url = new URL(baseUrl);
  const { request } = await import('node:http');
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const sent = request(
      { host: url.hostname, port: url.port, path, headers: bearer(key), agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    sent.on('error', reject).end();
  });
  expect([403, 404]).toContain(status);
});

describe('what belongs to another tenant', () => {
  let acme: string;
  let globex: string;
  /** By the name of the parameter: what acme has, and what nobody has. */
  let ids: Record<string, [theirs: string, nobodys: string]>;

  const post = async (path: string, body: unknown, type = 'application/json'): Promise<{ id: string }> => {
    const headers = { ...bearer(acme), 'content-type': type };
    const response = await fetch(`${baseUrl}${path}`, {
      method: 'POST',
      headers,
      body: type === 'text/plain' ? String(body) : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  };

  beforeAll(async () => {
    acme = await bench.key(['read', 'write'], { tenant: 'acme' });
    globex = await bench.key(['read', 'write'], { tenant: 'globex' });
    const endpoint = await post('/webhooks/endpoints', { url: receiver.url(), events: ['job.succeeded'], models: [] });
    const job = await post('/jobs', { model: 'linear', input: row });
    await until('the job has ended', async () => {
      const response = await fetch(`${baseUrl}/jobs/${job.id}`, { headers: bearer(acme) });
      return ((await response.json()) as { status: string }).status === 'succeeded';
    });
    const delivery = await until('there is a delivery', async () => {
      const response = await fetch(`${baseUrl}/webhooks/deliveries`, { headers: bearer(acme) });
      return ((await response.json()) as { data: { id: string }[] }).data[0]?.id;
    });
    const file = await post('/files', 'content', 'text/plain');
    const upload = await post('/uploads', {});
    const { createdAtMs = 0, partition = 0 } = parseJobId(job.id) ?? {};
    const flipped = (id: string) => id.slice(0, -4) + [...id.slice(-4)].map((c) => (c === '0' ? '1' : '0')).join('');
    ids = {
      '/jobs/': [job.id, newJobId({ createdAtMs, partition })],
      '/files/': [file.id, flipped(file.id)],
      '/uploads/': [upload.id, flipped(upload.id)],
      '/webhooks/endpoints/': [endpoint.id, flipped(endpoint.id)],
      '/webhooks/deliveries/': [String(delivery), flipped(String(delivery))],
    };
  });

  const pathsOf = (path: string): [string, string] | undefined => {
    const found = Object.entries(ids).find(([prefix]) => path.startsWith(`${prefix}{id}`));
    return found?.[1].map((id) => path.replace('{id}', id).replace('{number}', '1')) as [string, string] | undefined;
  };
  /** All that a client sees, but the date. */
  const seen = ({ status, headers, text }: Reply) => ({
    status,
    text,
    headers: [...headers].filter(([name]) => name !== 'date'),
  });

  test('is answered as what is not there, to the byte, by every operation on an id', async () => {
    const operations = api.operations.filter(({ path }) => pathsOf(path));
    expect(operations.length).toBeGreaterThan(20);
    for (const operation of operations) {
      const [theirs, nobodys] = pathsOf(operation.path) as [string, string];
      const [foreign, missing] = [
        seen(await send(operation, theirs, `Bearer ${globex}`)),
        seen(await send(operation, nobodys, `Bearer ${globex}`)),
      ];
      expect({ operation: operation.operationId, ...foreign }).toEqual({
        operation: operation.operationId,
        ...missing,
      });
      expect([operation.operationId, foreign.status]).toEqual([operation.operationId, 404]);
    }
    // And nothing came of it: its owner has it as it was.
    for (const operation of operations.filter(({ method, path }) => method === 'GET' && path.endsWith('{id}'))) {
      const [theirs] = pathsOf(operation.path) as [string, string];
      expect([operation.path, (await send(operation, theirs, `Bearer ${acme}`)).status]).toEqual([operation.path, 200]);
    }
  });

  test('stands in no list, and is found by no filter', async () => {
    const lists = ['/jobs', '/webhooks/endpoints', '/webhooks/deliveries'];
    const [endpoint] = ids['/webhooks/endpoints/'] as [string, string];
    const [job] = ids['/jobs/'] as [string, string];
    for (const path of [...lists, `/webhooks/deliveries?endpoint=${endpoint}`, `/webhooks/deliveries?job=${job}`]) {
      const read = async (key: string) =>
        ((await (await fetch(`${baseUrl}${path}`, { headers: bearer(key) })).json()) as { data: unknown[] }).data
          .length;
      expect([path, await read(acme), await read(globex)]).toEqual([path, 1, 0]);
    }
  });

  test('is no input of a job, no receiver of a replay, and no key of a webhook', async () => {
    const [file, noFile] = ids['/files/'] as [string, string];
    const [endpoint, noEndpoint] = ids['/webhooks/endpoints/'] as [string, string];
    const asked: [
      method: string,
      template: string,
      path: (id: string) => string,
      body: (id: string) => unknown,
      ids: [string, string],
    ][] = [
      ['POST', '/jobs', () => '/jobs', (id) => ({ model: 'linear', input_file: id }), [file, noFile]],
      [
        'GET',
        '/.well-known/webhook-keys',
        (id) => `/.well-known/webhook-keys?endpoint=${id}`,
        () => undefined,
        [endpoint, noEndpoint],
      ],
      [
        'POST',
        '/webhooks/deliveries/replay',
        () => '/webhooks/deliveries/replay',
        (id) => ({ from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z', endpoint_id: id }),
        [endpoint, noEndpoint],
      ],
    ];
    for (const [method, template, path, body, [theirs, nobodys]] of asked) {
      const operation = api.operation(method, template);
      const foreign = seen(await send(operation, path(theirs), `Bearer ${globex}`, body(theirs)));
      const missing = seen(await send(operation, path(nobodys), `Bearer ${globex}`, body(nobodys)));
      expect([template, foreign]).toEqual([template, missing]);
    }
  });

  test('is made by an idempotency key that another tenant has used too', async () => {
    const make = async (key: string) => {
      const headers = { ...bearer(key), 'content-type': 'application/json', 'idempotency-key': 'one' };
      const body = JSON.stringify({ model: 'linear', input: row });
      const response = await fetch(`${baseUrl}/jobs`, { method: 'POST', headers, body });
      return [((await response.json()) as { id: string }).id, response.headers.get('idempotency-replayed')];
    };
    const [[first], [second, isReplayed], [third, isRepeat]] = [await make(acme), await make(globex), await make(acme)];
    expect([second === first, isReplayed, third, isRepeat]).toEqual([false, null, first, 'true']);
  });
});

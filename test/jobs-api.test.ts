import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newJobId } from '@onqueue/shared';
import { acceptedJob, endedJob, type JobBody, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const urlsOf = (id: string) => ({
  self: `/jobs/${id}`,
  result: `/jobs/${id}/result`,
  events: `/jobs/${id}/events`,
  cancel: `/jobs/${id}/cancel`,
  retry: `/jobs/${id}/retry`,
  runs: `/jobs/${id}/runs`,
});
const linear = (x0: number) => ({ x0, x1: 0, x2: 0 });

describe('POST /jobs', () => {
  test('answers 202 with the id, the place to look and what was accepted', async () => {
    const { status, headers, body } = await postJob(baseUrl, {
      model: 'linear',
      input: linear(1),
      metadata: { order: 'A-7' },
    });
    expect(status).toBe(202);
    expect(headers.get('location')).toBe(`/jobs/${body.id}`);
    expect(body).toEqual({
      id: expect.stringMatching(/^job_/),
      object: 'job',
      status: 'queued',
      model: 'linear',
      version: '1',
      lane: 'interactive',
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      rows: { total: 1 },
      metadata: { order: 'A-7' },
      request_id: headers.get('x-request-id'),
      urls: urlsOf(body.id),
    });
  });

  describe('Prefer: wait', () => {
    const postPreferring = (prefer: string, body: unknown) => postJob(baseUrl, body, { prefer });

    test('is answered 200 with the job as it ended, if that is in time', async () => {
      const job = { model: 'linear', input: linear(3), metadata: { order: 'A-8' } };
      const { status, headers, body } = await postPreferring('respond-async, wait=30', job);
      expect([status, headers.get('preference-applied')]).toEqual([200, 'wait=30']);
      expect(headers.get('location')).toBe(`/jobs/${body.id}`);
      expect(body).toMatchObject({ status: 'succeeded', results: [{ output: { score: 3 } }], metadata: job.metadata });
      expect((await request(`${baseUrl}/jobs/${body.id}`)).body).toEqual(body);
    });

    test('is answered 202 when the time is over, and the job goes on', async () => {
      const { status, headers, body } = await postPreferring('wait=1', { model: 'slow', input: { steps: 5000 } });
      expect([status, headers.get('preference-applied'), body.status]).toEqual([202, 'wait=1', 'queued']);
      expect(await endedJob(baseUrl, body.id)).toMatchObject({ status: 'succeeded' });
    });

    test.each(['respond-async', 'wait=soon', 'wait=0', 'return=minimal'])('%s is answered at once', async (prefer) => {
      const { status, headers, body } = await postPreferring(prefer, { model: 'slow', input: { steps: 3000 } });
      expect([status, headers.get('preference-applied'), body.status]).toEqual([202, null, 'queued']);
      await request(`${baseUrl}/jobs/${body.id}/cancel`, { method: 'POST' });
    });

    test('refuses a bad row without waiting', async () => {
      expect(await postPreferring('wait=30', { model: 'linear', input: {} })).toMatchObject({ status: 400 });
    });

    test('is answered 202 at once by an API that holds as many requests as it may', async () => {
      const api = await platform.startApi({ ONQUEUE_MAX_WAITERS: '1' });
      const held = await acceptedJob(api.baseUrl, { model: 'slow', input: { steps: 20_000 } });
      const poll = request(`${api.baseUrl}/jobs/${held}?wait=60`);
      const metrics = async () => String((await request<string>(`${api.baseUrl}/metrics`)).body);
      await until('it holds one', async () => /^onqueue_waiters 1$/m.test(await metrics()));
      const { status, headers } = await postJob(
        api.baseUrl,
        { model: 'linear', input: linear(1) },
        { prefer: 'wait=60' },
      );
      expect([status, headers.get('preference-applied')]).toEqual([202, null]);
      await request(`${api.baseUrl}/jobs/${held}/cancel`, { method: 'POST' });
      expect(await poll).toMatchObject({ status: 200, body: { status: 'canceled' } });
      await api.stop();
    });
  });

  test('takes a pinned version and the bulk lane', async () => {
    expect(await runJob(baseUrl, { model: 'linear', version: '1', lane: 'bulk', input: linear(2) })).toMatchObject({
      status: 'succeeded',
      lane: 'bulk',
      results: [{ output: { score: 2 } }],
    });
  });
});

describe('GET /jobs/:id', () => {
  test('tells result, timings and what made the result', async () => {
    const job = await runJob(baseUrl, { model: 'linear', inputs: [linear(1), linear(2)], metadata: { n: 1 } });
    expect(job).toEqual({
      id: expect.any(String),
      object: 'job',
      status: 'succeeded',
      model: 'linear',
      version: '1',
      lane: 'interactive',
      priority: 0,
      scheduled_at: null,
      service: null,
      run: 1,
      attempt: 1,
      created_at: expect.any(String),
      started_at: expect.any(String),
      finished_at: expect.any(String),
      expires_at: expect.any(String),
      rows: { total: 2, succeeded: 2, failed: 0 },
      results: [
        { status: 'succeeded', output: { score: 1 } },
        { status: 'succeeded', output: { score: 2 } },
      ],
      served_by: 'model',
      error: null,
      timings: {
        network_in_ms: expect.any(Number),
        validate_ms: expect.any(Number),
        queue_ms: expect.any(Number),
        batch_wait_ms: expect.any(Number),
        preprocess_ms: expect.any(Number),
        inference_ms: expect.any(Number),
        postprocess_ms: expect.any(Number),
        store_ms: expect.any(Number),
        total_ms: expect.any(Number),
      },
      provenance: {
        model: 'linear',
        version: '1',
        artifact_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        preprocess_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        decision_policy_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        runtime: { name: 'onnxruntime-node', version: '1.30.0' },
        execution_provider: 'cpu',
        batch_size: 2,
        batches: 1,
        run: 1,
        attempt: 1,
        worker: expect.any(String),
      },
      metadata: { n: 1 },
      request_id: expect.any(String),
      urls: urlsOf(job.id),
      webhook_status: null,
    });
    const { total_ms: total, ...phases } = job.timings as Record<string, number>;
    const sum = Object.values(phases).reduce((a, b) => a + b, 0);
    expect(Math.abs(sum - (total ?? 0))).toBeLessThanOrEqual(Math.max(1, (total ?? 0) * 0.02));
  });

  test('keeps a job for a day after its end', async () => {
    const job = await runJob(baseUrl, { model: 'linear', input: linear(1) });
    expect(Date.parse(String(job.expires_at)) - Date.parse(String(job.finished_at))).toBe(86_400_000);
  });

  test('answers at once without wait, with a Retry-After while the job has not ended', async () => {
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 300 } });
    const { body, headers } = await request<JobBody>(`${baseUrl}/jobs/${id}`);
    expect(body).toMatchObject({
      status: expect.stringMatching(/queued|running/),
      results: null,
      expires_at: null,
      timings: null,
    });
    expect(headers.get('retry-after')).toBe('1');
    expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded', results: [{ output: { score: 300 } }] });
  });

  test('holds a long poll until the job ends, long before the wait is over', async () => {
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 200 } });
    const { body, durationMs } = await request<JobBody>(`${baseUrl}/jobs/${id}?wait=60`);
    expect(body.status).toBe('succeeded');
    expect(durationMs).toBeLessThan(9000);
  });

  test('answers a long poll with the job as it is when the wait is over', async () => {
    const [worker] = platform.workers;
    worker?.pause();
    try {
      const id = await acceptedJob(baseUrl, { model: 'linear', input: linear(1) });
      const { body, durationMs } = await request<JobBody>(`${baseUrl}/jobs/${id}?wait=1`);
      expect(body.status).not.toBe('succeeded');
      expect(durationMs).toBeGreaterThanOrEqual(990);
    } finally {
      worker?.resume();
    }
  });

  test.each(['9999999', '9'.repeat(400), '060'])('cuts a wait of %s seconds to what is allowed', async (wait) => {
    const { id } = await runJob(baseUrl, { model: 'linear', input: linear(1) });
    expect(await request(`${baseUrl}/jobs/${id}?wait=${wait}`)).toMatchObject({ status: 200, body: { id } });
  });

  test('tells hundreds who wait for one job', async () => {
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 300 } });
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => request<JobBody>(`${baseUrl}/jobs/${id}?wait=30`)),
    );
    expect(new Set(answers.map(({ body }) => body.status))).toEqual(new Set(['succeeded']));
  });

  test('answers the same for nonsense and for an id that never was', async () => {
    const body = (id: string) => request(`${baseUrl}/jobs/${id}`, { headers: { 'x-request-id': 'same' } });
    const never = await body(newJobId({ createdAtMs: Date.now(), partition: 0 }));
    expect(never).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
    expect((await body('nonsense')).body).toEqual(never.body);
  });
});

describe('a row that fails', () => {
  const inputs = [{ index: 3 }, { index: 99 }, { index: 4 }];

  test('fails its job by default; the other rows keep their results', async () => {
    expect(await runJob(baseUrl, { model: 'lookup', inputs })).toMatchObject({
      status: 'failed',
      error: { code: 'inference_failed', row: 1 },
      rows: { total: 3, succeeded: 2, failed: 1 },
      results: [
        { status: 'succeeded', output: { score: 30 } },
        { status: 'failed', error: { code: 'inference_failed' } },
        { status: 'succeeded', output: { score: 40 } },
      ],
    });
  });

  test('is counted and nothing more with on_row_error: continue', async () => {
    expect(await runJob(baseUrl, { model: 'lookup', inputs, on_row_error: 'continue' })).toMatchObject({
      status: 'succeeded',
      error: null,
      rows: { total: 3, succeeded: 2, failed: 1 },
    });
  });

  test('harms no job that shares its batch', async () => {
    const ids = await Promise.all(
      Array.from({ length: 60 }, (_, n) => acceptedJob(baseUrl, { model: 'lookup', input: { index: n % 15 } })),
    );
    const jobs = await Promise.all(ids.map((id) => endedJob(baseUrl, id)));
    expect(jobs.map(({ status }) => status)).toEqual(
      Array.from({ length: 60 }, (_, n) => (n % 15 < 10 ? 'succeeded' : 'failed')),
    );
  });

  test('fails alone when the model answers infinity for it', async () => {
    const row = { x0: 3e38, x1: 3e38, x2: 3e38 };
    expect(
      await runJob(baseUrl, { model: 'linear', inputs: [linear(1), row], on_row_error: 'continue' }),
    ).toMatchObject({
      results: [{ output: { score: 1 } }, { error: { code: 'non_finite_output' } }],
    });
  });
});

describe('a burst', () => {
  test('is computed in batches, and every job gets its own answer', async () => {
    const ids = await Promise.all(
      Array.from({ length: 200 }, (_, n) => acceptedJob(baseUrl, { model: 'linear', input: linear(n) })),
    );
    const jobs = await Promise.all(ids.map((id) => endedJob(baseUrl, id)));
    expect(jobs.map(({ results }) => results?.[0]?.output?.score)).toEqual(Array.from({ length: 200 }, (_, n) => n));
    expect(Math.max(...jobs.map(({ provenance }) => Number(provenance?.batch_size)))).toBeGreaterThan(1);
  });

  test('of more rows than a batch holds is spread over batches', async () => {
    const inputs = Array.from({ length: 300 }, (_, n) => linear(n));
    const job = await runJob(baseUrl, { model: 'linear', inputs });
    expect(job.results?.map(({ output }) => output?.score)).toEqual(inputs.map(({ x0 }) => x0));
    expect(job.provenance).toMatchObject({ batches: 5 });
  });
});

describe('GET /models', () => {
  test('lists the models with their versions and whether a worker serves them', async () => {
    const { body } = await request<{ data: { name: string; ready: boolean }[] }>(`${baseUrl}/models`);
    expect(body.data.map(({ name }) => name)).toEqual(['crash', 'linear', 'lookup', 'slow']);
    expect(body.data.every(({ ready }) => ready)).toBe(true);
  });

  test('tells signature, row schema and an example that can be posted as it is', async () => {
    const { body } = await request<{ example: Record<string, number> }>(`${baseUrl}/models/linear`);
    expect(body).toMatchObject({
      name: 'linear',
      version: '1',
      kind: 'tabular',
      signature: { inputs: [{ name: 'x0' }, { name: 'x1' }, { name: 'x2' }], outputs: [{ name: 'score' }] },
      row_schema: { type: 'object', required: ['x0', 'x1', 'x2'], additionalProperties: false },
      versions: [{ version: '1', ready: true, ready_workers: 1, circuit: { state: 'closed', open_workers: 0 } }],
    });
    expect(await runJob(baseUrl, { model: 'linear', input: body.example })).toMatchObject({ status: 'succeeded' });
  });

  test('links to where clients reach the API', async () => {
    const published = await platform.startApi({ ONQUEUE_PUBLIC_URL: 'https://jobs.example/v1/' });
    try {
      const urls = { self: 'https://jobs.example/v1/models/linear' };
      const list = await request<{ data: { name: string }[] }>(`${published.baseUrl}/models`);
      expect(list.body.data.find(({ name }) => name === 'linear')).toMatchObject({ urls });
      expect((await request(`${published.baseUrl}/models/linear`)).body).toMatchObject({ urls });
      expect((await request(`${baseUrl}/models/linear`)).body).toMatchObject({ urls: { self: '/models/linear' } });
    } finally {
      await published.stop();
    }
  });

  test('answers 404 for an unknown one, and points into no body', async () => {
    const { status, body } = await request(`${baseUrl}/models/FRAUD`);
    expect([status, body.code, body.detail]).toEqual([
      404,
      'model_not_found',
      'There is no model "FRAUD". GET /models lists the models that are known.',
    ]);
    expect(body).not.toHaveProperty('errors');
  });
});

describe('request ids', () => {
  test('are taken from the client, kept with the job and told in errors', async () => {
    const accepted = await postJob(baseUrl, { model: 'linear', input: linear(1) }, { 'x-request-id': 'my-request.1' });
    expect(accepted.headers.get('x-request-id')).toBe('my-request.1');
    expect((await endedJob(baseUrl, accepted.body.id)).request_id).toBe('my-request.1');
    const refused = await postJob(baseUrl, {}, { 'x-request-id': 'my-request.2' });
    expect(refused.body).toMatchObject({ request_id: 'my-request.2' });
  });

  test('are replaced when they could forge a log line', async () => {
    const { headers } = await postJob(baseUrl, {}, { 'x-request-id': 'a b"c' });
    expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
  });
});

describe('operations', () => {
  test('/livez and /readyz are green on both processes, and say what Redis promises', async () => {
    expect(await request(`${baseUrl}/livez`)).toMatchObject({ status: 200 });
    expect(await request(`${baseUrl}/readyz`)).toMatchObject({
      status: 200,
      body: { status: 'ready', redis: { status: 'ok', durability: 'default' } },
    });
    const worker = platform.workers[0]?.baseUrl;
    expect(await request(`${worker}/livez`)).toMatchObject({ status: 200 });
    expect(await request(`${worker}/readyz`)).toMatchObject({ status: 200, body: { status: 'ready' } });
  });

  test('/metrics counts jobs, rows, batches, phases and what waits', async () => {
    await runJob(baseUrl, { model: 'linear', inputs: [linear(1), linear(2)] });
    const { body: api } = await request<string>(`${baseUrl}/metrics`);
    expect(api).toMatch(/^onqueue_jobs_accepted_total\{model="linear",version="1",lane="interactive"\} \d+$/m);
    expect(api).toMatch(/^onqueue_queue_depth_jobs\{model="linear"\} 0$/m);
    expect(api).toMatch(/^onqueue_queue_oldest_job_age_seconds\{model="linear",lane="interactive"\} 0$/m);
    const { body: worker } = await request<string>(`${platform.workers[0]?.baseUrl}/metrics`);
    expect(worker).toMatch(/^onqueue_jobs_finished_total\{model="linear",version="1",status="succeeded"\} \d+$/m);
    expect(worker).toMatch(/^onqueue_rows_finished_total\{model="lookup",version="1",status="failed"\} \d+$/m);
    expect(worker).toMatch(/^onqueue_batch_rows_bucket\{le="64",model="linear",version="1"\} \d+$/m);
    for (const phase of ['queue', 'batch_wait', 'preprocess', 'inference', 'postprocess']) {
      expect(worker).toMatch(
        new RegExp(`^onqueue_phase_duration_seconds_count\\{model="linear",phase="${phase}"\\} \\d+$`, 'm'),
      );
    }
  });

  test('the logs have one line a job, with its request id and never its inputs', async () => {
    const { body } = await postJob(
      baseUrl,
      { model: 'linear', input: linear(987_654_321), metadata: { secret: 'canary-in-metadata' } },
      { 'x-request-id': 'find-me' },
    );
    await endedJob(baseUrl, body.id);
    const logs = () => [...platform.apis, ...platform.workers].flatMap((service) => service.logs());
    const jobLines = () => logs().filter((line) => line.includes(body.id) && line.includes('"msg":"job"'));
    // The worker writes it after the commit that tells the client.
    await until('the job is logged', () => jobLines().length > 0);
    const lines = jobLines();
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ request_id: 'find-me', model: 'linear', status: 'succeeded' });
    expect(logs().join('\n')).not.toMatch(/987654321|canary-in-metadata/);
  });
});

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ChildService, repoRoot } from '@onqueue/launcher';
import { endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { startTraceCollector, type TraceCollector } from './support/trace-collector.ts';
import { until } from './support/until.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const CONTEXT = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'vendor=opaque' };
const SERVER = 2;
const CLIENT = 3;
const CONSUMER = 5;

let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
});

afterAll(async () => {
  await receiver?.close();
  await models?.remove();
});

/** The lines of a service that tell of something, once they are as many. */
function lines(service: ChildService | undefined, isMeant: (line: Record<string, unknown>) => boolean, count = 1) {
  return until('the lines are there', () => {
    const texts = service?.logs().filter((text) => text.startsWith('{')) ?? [];
    const found = texts.map((text) => JSON.parse(text) as Record<string, unknown>).filter(isMeant);
    return found.length >= count && found;
  });
}

const job = (more: object = {}) => ({ model: 'linear', input: { x0: 1, x1: 2, x2: 3 }, ...more });

async function deliveryOf(id: string) {
  return until('the webhook is there', () => receiver.requests.find(({ body }) => body.includes(id)));
}

describe('without OpenTelemetry', () => {
  let platform: TestPlatform;

  beforeAll(async () => {
    platform = await startTestPlatform({ modelsDir: models.dir });
  });
  afterAll(() => platform?.stop());

  test('the context of the request goes with the webhook as it came, and its trace id into every log', async () => {
    const { body } = await postJob(platform.baseUrl, job({ webhook: receiver.url() }), CONTEXT);
    const { headers } = await deliveryOf(body.id);
    expect(headers).toMatchObject(CONTEXT);
    const ofJob = (line: Record<string, unknown>) => line.job_id === body.id;
    const [api] = await lines(platform.apis[0], ofJob);
    expect(api).toMatchObject({ msg: 'request', route: '/jobs', trace_id: TRACE });
    const worker = await lines(platform.workers[0], ofJob, 2);
    expect(worker.map(({ msg, trace_id }) => [msg, trace_id]).sort()).toEqual([
      ['job', TRACE],
      ['webhook attempt', TRACE],
    ]);
  });

  test('a run that a retry opened is part of the same trace', async () => {
    const { body } = await postJob(
      platform.baseUrl,
      { model: 'lookup', input: { index: 99 }, webhook: receiver.url() },
      CONTEXT,
    );
    expect((await endedJob(platform.baseUrl, body.id)).status).toBe('failed');
    await request(`${platform.baseUrl}/jobs/${body.id}/retry`, { method: 'POST' });
    const deliveries = await until('both runs are told', () => {
      const told = receiver.requests.filter((delivery) => delivery.body.includes(body.id));
      return told.length >= 2 && told;
    });
    for (const { headers } of deliveries) expect(headers).toMatchObject(CONTEXT);
  });

  test.each([
    ['none', {}],
    ['one that is none', { traceparent: 'b3-style', tracestate: 'vendor=opaque' }],
    ['one of zeros', { traceparent: `00-${'0'.repeat(32)}-${SPAN}-01` }],
  ])('with %s a job is accepted, and no trace is made up', async (_, headers) => {
    const { status, body } = await postJob(platform.baseUrl, job({ webhook: receiver.url() }), headers);
    expect(status).toBe(202);
    const delivery = await deliveryOf(body.id);
    expect(delivery.headers.traceparent).toBeUndefined();
    expect(delivery.headers.tracestate).toBeUndefined();
    const [line] = await lines(platform.workers[0], ({ job_id }) => job_id === body.id);
    expect(line).not.toHaveProperty('trace_id');
  });
});

test('OpenTelemetry is loaded only where it is on', () => {
  const loadedWith = (endpoint: string | undefined) => {
    const options = { endpoint, service: 'onqueue-api', version: '1', instance: '1' };
    const script = `
      const { createRequire } = await import('node:module');
      const { openTracer } = await import(${JSON.stringify(join(repoRoot, 'packages/shared/dist/tracing/index.js'))});
      const tracer = await openTracer(${JSON.stringify(options)});
      const { cache } = createRequire('/');
      console.log(Object.keys(cache).filter((path) => path.includes('@opentelemetry')).length);
      await tracer?.close();`;
    return Number(execFileSync(process.execPath, ['--input-type=module', '-e', script]));
  };
  expect(loadedWith(undefined)).toBe(0);
  expect(loadedWith('http://127.0.0.1:4318')).toBeGreaterThan(0);
});

describe('with a collector', () => {
  let collector: TraceCollector;
  let platform: TestPlatform;

  beforeAll(async () => {
    collector = await startTraceCollector();
    platform = await startTestPlatform({
      modelsDir: models.dir,
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_BSP_SCHEDULE_DELAY: '50',
        ONQUEUE_WEBHOOK_SCHEDULE_MS: '0,50',
      },
    });
  });
  afterAll(async () => {
    await platform?.stop();
    await collector?.close();
  });

  const spanOf = (id: string, kind: number, outcome?: string) =>
    collector.waitFor(
      (span) =>
        span.kind === kind &&
        span.attributes['onqueue.job.id'] === id &&
        (outcome === undefined || span.attributes['onqueue.outcome'] === outcome),
    );

  test('one trace leads from the client over the API and the worker to the webhook', async () => {
    const { body } = await postJob(platform.baseUrl, job({ webhook: receiver.url() }), CONTEXT);
    const delivery = await deliveryOf(body.id);
    const server = await spanOf(body.id, SERVER);
    expect(server).toMatchObject({
      service: 'onqueue-api',
      traceId: TRACE,
      parentSpanId: SPAN,
      name: 'POST /jobs',
      isError: false,
      attributes: { 'http.request.method': 'POST', 'http.route': '/jobs', 'http.response.status_code': 202 },
    });
    const consumer = await spanOf(body.id, CONSUMER);
    expect(consumer).toMatchObject({
      service: 'onqueue-worker',
      traceId: TRACE,
      parentSpanId: server.spanId,
      name: 'process linear.interactive',
      attributes: { 'onqueue.status': 'succeeded', 'onqueue.run': 1, 'onqueue.attempt': 1, 'onqueue.rows': 1 },
    });
    const client = await spanOf(body.id, CLIENT);
    expect(client).toMatchObject({
      service: 'onqueue-worker',
      traceId: TRACE,
      parentSpanId: server.spanId,
      attributes: { 'onqueue.outcome': 'delivered', 'http.response.status_code': 200 },
    });
    expect(delivery.headers).toMatchObject({
      traceparent: `00-${TRACE}-${client.spanId}-01`,
      tracestate: 'vendor=opaque',
    });
  });

  test('the run has a span for each phase, one after the other, that fill it', async () => {
    const { body } = await postJob(platform.baseUrl, job(), { ...CONTEXT, prefer: 'wait=30' });
    const run = await spanOf(body.id, CONSUMER);
    const phases = collector.spans.filter(({ parentSpanId }) => parentSpanId === run.spanId);
    expect(phases.map(({ name }) => name)).toEqual([
      'queue',
      'batch_wait',
      'preprocess',
      'inference',
      'postprocess',
      'store',
    ]);
    let atMs = run.startMs;
    for (const { startMs, endMs } of phases) {
      expect(startMs).toBeCloseTo(atMs, 2);
      expect(endMs).toBeGreaterThanOrEqual(startMs);
      atMs = endMs;
    }
    expect(run.endMs).toBeCloseTo(atMs, 2);
    const inference = phases.find(({ name }) => name === 'inference');
    expect(Number(inference?.endMs) - Number(inference?.startMs)).toBeCloseTo(Number(body.timings?.inference_ms), 1);
  });

  test('what failed says so: the run, each attempt of a webhook, and a request that the server failed', async () => {
    receiver.respond({ status: 500 });
    const { body } = await postJob(platform.baseUrl, {
      model: 'lookup',
      input: { index: 99 },
      webhook: receiver.url(),
    });
    expect(await spanOf(body.id, CONSUMER)).toMatchObject({
      isError: true,
      attributes: { 'onqueue.status': 'failed' },
    });
    const [refused, delivered] = await Promise.all([
      spanOf(body.id, CLIENT, 'retry'),
      spanOf(body.id, CLIENT, 'delivered'),
    ]);
    expect(refused).toMatchObject({ isError: true, attributes: { 'http.request.resend_count': 0 } });
    expect(delivered).toMatchObject({ isError: false, attributes: { 'http.request.resend_count': 1 } });
    expect(delivered.traceId).toBe(refused.traceId);
  });

  test('a trace begins here where the client has none, and a caller that does not sample is not recorded', async () => {
    const own = await postJob(platform.baseUrl, job());
    const server = await spanOf(own.body.id, SERVER);
    expect(server.parentSpanId).toBeUndefined();
    const unsampled = 'a'.repeat(32);
    const { body } = await postJob(platform.baseUrl, job({ webhook: receiver.url() }), {
      traceparent: `00-${unsampled}-${SPAN}-00`,
    });
    const { headers } = await deliveryOf(body.id);
    expect(headers.traceparent).toMatch(new RegExp(`^00-${unsampled}-[0-9a-f]{16}-00$`));
    // A later job's spans are there: those of this one would be, too.
    const later = await postJob(platform.baseUrl, job());
    await Promise.all([spanOf(later.body.id, SERVER), spanOf(later.body.id, CONSUMER)]);
    expect(collector.spans.filter(({ traceId }) => traceId === unsampled)).toEqual([]);
  });

  test('a client that errs is no error of the server, and probes have no spans', async () => {
    await request(`${platform.baseUrl}/readyz`);
    await postJob(platform.baseUrl, { model: 'linear' }, { 'x-request-id': 'req_refused' });
    const refused = await collector.waitFor(({ attributes }) => attributes['onqueue.request_id'] === 'req_refused');
    expect(refused).toMatchObject({
      isError: false,
      attributes: { 'http.response.status_code': 400, 'onqueue.problem': 'invalid_request' },
    });
    expect(collector.spans.filter(({ name }) => name.includes('readyz'))).toEqual([]);
  });

  test('a process that ends sends what it has', async () => {
    const api = await platform.startApi({ OTEL_BSP_SCHEDULE_DELAY: '600000' });
    const { body } = await postJob(api.baseUrl, job());
    await api.stop();
    expect(collector.spans.some(({ attributes }) => attributes['onqueue.job.id'] === body.id)).toBe(true);
  });

  test('a collector that is away costs a line of the log, and no job', async () => {
    const gone = await startTraceCollector();
    await gone.close();
    const api = await platform.startApi({ OTEL_EXPORTER_OTLP_ENDPOINT: gone.url, OTEL_EXPORTER_OTLP_TIMEOUT: '200' });
    expect((await postJob(api.baseUrl, job(), { prefer: 'wait=30' })).body.status).toBe('succeeded');
    const [line] = await lines(api, ({ msg }) => msg === 'tracing');
    expect(line).toMatchObject({ level: 40, reason: expect.stringMatching(/.+/) });
    expect((await api.stop()).code).toBe(0);
  });
});

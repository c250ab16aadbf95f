import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WebSocket } from 'ws';
import { acceptedJob, endedJob, request, runJob } from './support/client.ts';
import { openEventStream } from './support/event-stream.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** A reader follows a job from wherever it is, and misses nothing. */

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

const input = { x0: 1, x1: 2, x2: 3 };
const LONG = { model: 'slow', input: { steps: 60_000_000 } };
const open = (id: string, headers: Record<string, string> = {}, query = '', url = baseUrl) =>
  openEventStream(`${url}/jobs/${id}/events${query}`, headers);
const act = (id: string, action: string) => request(`${baseUrl}/jobs/${id}/${action}`, { method: 'POST' });
const readersOf = async (url: string) =>
  /^onqueue_event_readers (\d+)$/m.exec((await request<string>(`${url}/metrics`)).body)?.[1];

describe('GET /jobs/:id/events', () => {
  test('tells what has happened, with the result, and ends', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input });
    const stream = await open(id);
    expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    expect(await stream.ended).toMatchObject([
      { id: '1-0', type: 'job.queued', data: { job_id: id, run: 1, status: 'queued', job: null } },
      { id: '1-1', type: 'job.started', data: { status: 'running', job: null } },
      {
        id: '1-2',
        type: 'job.succeeded',
        data: { status: 'succeeded', job: { id, results: [{ status: 'succeeded' }] } },
      },
    ]);
  });

  test('tells what happens while it does', async () => {
    for (const worker of platform.workers) worker.pause();
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 3000 } });
    const stream = await open(id);
    expect(await stream.first(1)).toMatchObject([{ type: 'job.queued' }]);
    for (const worker of platform.workers) worker.resume();
    await stream.first(2);
    expect((await stream.ended).map(({ type }) => type)).toEqual(['job.queued', 'job.started', 'job.succeeded']);
  });

  test('goes on behind the last event that the reader has', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input });
    const idsOf = async (headers: Record<string, string>, query = '') =>
      (await (await open(id, headers, query)).ended).map((event) => event.id);
    expect(await idsOf({ 'last-event-id': '1-0' })).toEqual(['1-1', '1-2']);
    expect(await idsOf({}, '?starting_after=1-1')).toEqual(['1-2']);
    // EventSource sends both when it comes back.
    expect(await idsOf({ 'last-event-id': '1-1' }, '?starting_after=1-0')).toEqual(['1-2']);
    expect((await open(id, { 'last-event-id': '1-2' })).status).toBe(204);
  });

  test('tells all runs of a job that was run again', async () => {
    const { id } = await runJob(baseUrl, { model: 'lookup', input: { index: 99 } });
    await act(id, 'retry');
    await endedJob(baseUrl, id);
    const told = await (await open(id)).ended;
    expect(told.map((event) => `${event.id} ${event.type}`)).toEqual([
      '1-0 job.queued',
      '1-1 job.started',
      '1-2 job.failed',
      '2-0 job.queued',
      '2-1 job.started',
      '2-2 job.failed',
    ]);
    expect(told.map(({ data }) => data.job?.run)).toEqual([undefined, undefined, undefined, undefined, undefined, 2]);
    expect((await (await open(id, { 'last-event-id': '1-2' })).ended).map((event) => event.id)).toEqual([
      '2-0',
      '2-1',
      '2-2',
    ]);
  });

  test('of a job that never started has no start', async () => {
    for (const worker of platform.workers) worker.pause();
    const ids = [];
    // One or two may be in the worker's hands.
    for (let n = 0; n < 3; n++) ids.push(await acceptedJob(baseUrl, LONG));
    const id = ids[2] ?? '';
    await act(id, 'cancel');
    expect((await (await open(id)).ended).map((event) => event.id)).toEqual(['1-0', '1-2']);
    for (const worker of platform.workers) worker.resume();
    await Promise.all(ids.map((other) => act(other, 'cancel')));
  });

  test('says that events are missing which the reader has and the job has not', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input });
    const told = await (await open(id, { 'last-event-id': '7-1' })).ended;
    expect(told.map((event) => [event.id, event.type])).toEqual([
      [undefined, 'gap'],
      ['1-0', 'job.queued'],
      ['1-1', 'job.started'],
      ['1-2', 'job.succeeded'],
    ]);
    expect(told[0]?.data).toMatchObject({ after: '7-1', detail: expect.any(String) });
  });

  test('refuses what is no place in a stream, and jobs that are not there', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input });
    const events = (query: string, headers = {}) => request(`${baseUrl}/jobs/${id}/events${query}`, { headers });
    expect(await events('?starting_after=x')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '?starting_after' }] },
    });
    expect(await events('', { 'last-event-id': '-1' })).toMatchObject({ status: 400 });
    expect(await events('?after=1-0')).toMatchObject({ status: 400 });
    expect(await request(`${baseUrl}/jobs/job_x/events`)).toMatchObject({
      status: 404,
      body: { code: 'job_not_found' },
    });
  });

  test('sends heartbeats, holds so many readers and no more, and lets go of those who leave', async () => {
    const api = await platform.startApi({ ONQUEUE_MAX_EVENT_READERS: '1', ONQUEUE_EVENTS_HEARTBEAT_S: '1' });
    const id = await acceptedJob(baseUrl, LONG);
    const stream = await open(id, {}, '', api.baseUrl);
    await stream.commented(2);
    expect(stream.comments).toEqual(['heartbeat', 'heartbeat']);
    const refused = await request(`${api.baseUrl}/jobs/${id}/events`);
    expect(refused).toMatchObject({ status: 503, body: { code: 'too_many_readers' } });
    expect(refused.headers.get('retry-after')).toBe('1');
    stream.close();
    await until('the place is free', async () => (await readersOf(api.baseUrl)) === '0');
    const again = await open(id, {}, '', api.baseUrl);
    expect(again.status).toBe(200);
    await act(id, 'cancel');
    expect((await again.ended).at(-1)).toMatchObject({ type: 'job.canceled' });
    await api.stop();
  });

  test('ends when its server shuts down, and goes on at another one', async () => {
    const api = await platform.startApi({});
    const id = await acceptedJob(baseUrl, LONG);
    const stream = await open(id, {}, '', api.baseUrl);
    await stream.first(1);
    await api.stop();
    const told = await stream.ended;
    const rest = open(id, { 'last-event-id': told.at(-1)?.id ?? '' });
    await act(id, 'cancel');
    const all = [...told, ...(await (await rest).ended)].map((event) => event.id);
    expect([all[0], all.at(-1), new Set(all).size]).toEqual(['1-0', '1-2', all.length]);
  });
});

describe('as WebSocket', () => {
  const openSocket = (path: string) => new WebSocket(`${baseUrl.replace('http', 'ws')}${path}`);

  test('sends the same events, and closes when all is told', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input });
    const messages: unknown[] = [];
    const socket = openSocket(`/jobs/${id}/events?starting_after=1-0`);
    socket.on('message', (data) => messages.push(JSON.parse(String(data))));
    const [code] = await once(socket, 'close');
    const streamed = await (await open(id, { 'last-event-id': '1-0' })).ended;
    expect([code, messages]).toEqual([1000, streamed.map(({ data }) => data)]);
  });

  test('tells an end at once, and takes no messages', async () => {
    const id = await acceptedJob(baseUrl, LONG);
    const socket = openSocket(`/jobs/${id}/events`);
    await once(socket, 'message');
    socket.send('hello');
    await act(id, 'cancel');
    const [code] = await once(socket, 'close');
    expect(code).toBe(1000);
    const loud = openSocket(`/jobs/${await acceptedJob(baseUrl, LONG)}/events`);
    await once(loud, 'open');
    loud.send('x'.repeat(2000));
    expect((await once(loud, 'close'))[0]).toBe(1009);
    await until('both places are free', async () => (await readersOf(baseUrl)) === '0');
  });

  test('is refused as any request is', async () => {
    const socket = openSocket('/jobs/job_x/events');
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage];
    const body = JSON.parse((await response.toArray()).join(''));
    expect([response.statusCode, response.headers['content-type'], body]).toMatchObject([
      404,
      expect.stringContaining('problem+json'),
      { code: 'job_not_found' },
    ]);
    socket.on('error', () => {});
    socket.terminate();
  });

  test('is passed over where there is none', async () => {
    const socket = openSocket('/livez');
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage];
    expect(response.statusCode).toBe(200);
    socket.on('error', () => {});
    socket.terminate();
  });
});

test('a request that asks for another upgrade is served as if it had not, body and all', async () => {
  const { hostname, port } = new URL(baseUrl);
  const body = JSON.stringify({ model: 'linear', input });
  const socket = connect(Number(port), hostname);
  const head = (length: number) =>
    `POST /jobs HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
  socket.write(head(body.length) + body.slice(0, 10));
  socket.write(body.slice(10));
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1\.1 202 /);
  socket.destroy();
});

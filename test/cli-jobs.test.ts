import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '@onqueue/launcher';
import { runCli } from '../packages/cli/src/cli.ts';
import { onqueue, onqueueHere, startOnqueue } from './support/cli.ts';
import { acceptedJob, endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

const ROW = { x0: 1, x1: 2, x2: 3 };

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-cli-jobs-'));
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_INDEXED_METADATA: 'batch', ONQUEUE_MAX_JOBS_PER_CALL: '3' },
  });
});
afterAll(async () => {
  await platform?.stop();
  await models?.remove();
  await rm(folder, { recursive: true, force: true });
});

/** Against the platform of these tests. */
const run = (args: readonly string[], options: { input?: string; cwd?: string } = {}) =>
  onqueueHere(args, { ...options, env: { ONQUEUE_API_URL: platform.baseUrl } });
const json = (text: string) => JSON.parse(text);
const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('jobs submit', () => {
  test('posts a row and says which job it is', async () => {
    const { code, stdout, stderr } = await run(['jobs', 'submit', 'linear', '--input', JSON.stringify(ROW)]);
    expect([code, stderr]).toEqual([0, '']);
    const [, id] = /^(job_\w+) {2}queued\n/.exec(stdout) ?? [];
    expect((await endedJob(platform.baseUrl, String(id))).status).toBe('succeeded');
  });

  test('with --wait --json the answer is the job as it ended, one JSON document', async () => {
    const args = ['jobs', 'submit', 'linear', '--input', JSON.stringify([ROW, ROW]), '--wait', '--json'];
    const { code, stdout, stderr } = await run([...args, '--metadata', 'batch=7', '--lane', 'bulk']);
    expect([code, stderr]).toEqual([0, '']);
    const job = json(stdout);
    expect(job).toMatchObject({
      status: 'succeeded',
      lane: 'bulk',
      rows: { total: 2, succeeded: 2 },
      metadata: { batch: '7' },
    });
    expect((await request(`${platform.baseUrl}/jobs/${job.id}`)).body).toEqual(job);
  });

  test.each([
    ['lines that are piped in', [], { input: `${JSON.stringify(ROW)}\n\n${JSON.stringify(ROW)}\n` }],
    ['lines of a file', ['--file', 'rows.ndjson'], {}],
    ['an array in a file', ['--file', 'rows.json'], {}],
    ['- for what is piped in', ['--file', '-'], { input: JSON.stringify([ROW, ROW]) }],
  ])('takes rows from %s', async (_, args, options) => {
    await writeFile(join(folder, 'rows.ndjson'), `${JSON.stringify(ROW)}\n${JSON.stringify(ROW)}\n`);
    await writeFile(join(folder, 'rows.json'), JSON.stringify([ROW, ROW], null, 2));
    const { code, stdout } = await run(['jobs', 'submit', 'linear', '--json', ...args], { cwd: folder, ...options });
    expect([code, json(stdout).rows.total]).toEqual([0, 2]);
  });

  test('hands on every option of a job', async () => {
    const { code, stdout } = await run([
      ...['jobs', 'submit', 'linear', '--input', JSON.stringify(ROW), '--json', '--version', '1'],
      ...['--delay', '1h', '--priority', '-3', '--timeout', '2m', '--expires-in', '1h30m', '--retries', '2'],
      ...['--retention', '600', '--on-row-error', 'continue', '--service-class', 'batch', '--cancel-after', '2h'],
      ...['--metadata', 'batch=8', '--metadata', 'note=a=b', '--idempotency-key', 'cli-1'],
    ]);
    expect(code).toBe(0);
    const { id } = json(stdout);
    const { body } = await request(`${platform.baseUrl}/jobs/${id}`);
    expect(body).toMatchObject({
      status: 'queued',
      lane: 'bulk',
      priority: -3,
      scheduled_at: expect.any(String),
      metadata: { batch: '8', note: 'a=b' },
    });
    await request(`${platform.baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
  });

  test('the same idempotency key makes one job', async () => {
    const args = ['jobs', 'submit', 'linear', '--input', JSON.stringify(ROW), '--json', '--idempotency-key', 'cli-2'];
    const [first, second] = [await run(args), await run(args)];
    expect(json(second.stdout).id).toBe(json(first.stdout).id);
  });

  test('--dry-run posts nothing', async () => {
    const before = json((await run(['queues', '--json'])).stdout);
    const { code, stdout } = await run(['jobs', 'submit', 'linear', '--input', JSON.stringify(ROW), '--dry-run']);
    expect([code, stdout]).toEqual([0, expect.stringContaining('It would be accepted: linear/1, interactive, 1 rows')]);
    const refused = await run(['jobs', 'submit', 'linear', '--input', '{}', '--dry-run']);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('/inputs/0/x0')]);
    expect(json((await run(['queues', '--json'])).stdout)).toEqual(before);
  });

  test('shows what the API has against it, with each place', async () => {
    const args = ['jobs', 'submit', 'linear', '--input', JSON.stringify({ ...ROW, x1: 'two' })];
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/\(invalid_request, 400\)\n {2}\/inputs\/0\/x1: .+\n {2}request_id: req_\w+\n$/s);
    const asJson = await run([...args, '--json']);
    expect([asJson.code, asJson.stderr]).toEqual([1, '']);
    expect(json(asJson.stdout)).toMatchObject({
      error: expect.stringContaining('invalid_request'),
      problem: { code: 'invalid_request', status: 400, errors: [{ pointer: '/inputs/0/x1' }] },
    });
  });

  test.each([
    ['no rows at all', [], 1, 'stdin has no rows.'],
    ['an input that is none', ['--input', 'nonsense'], 2, '--input is no JSON object'],
    ['two inputs', ['--input', '{}', '--file', 'rows.json'], 2, 'not both'],
    ['a file that is not there', ['--file', 'nowhere.ndjson'], 1, 'nowhere.ndjson cannot be read'],
    ['a time that is none', ['--input', '{}', '--delay', 'soon'], 2, 'It is a time such as 90s'],
    ['metadata without a value', ['--input', '{}', '--metadata', 'batch'], 2, 'It is key=value.'],
    ['an option that there is not', ['--input', '{}', '--colour'], 2, 'unknown option'],
  ])('refuses %s', async (_, args, expected, message) => {
    const { code, stderr } = await run(['jobs', 'submit', 'linear', ...args], { cwd: folder });
    expect([code, stderr]).toEqual([expected, expect.stringContaining(message)]);
  });

  test('a line that is no row is named', async () => {
    const { code, stderr } = await run(['jobs', 'submit', 'linear'], { input: `${JSON.stringify(ROW)}\n{"x0":` });
    expect([code, stderr]).toEqual([1, expect.stringContaining('stdin:2 is not JSON')]);
  });
});

describe('jobs get, wait, cancel, retry', () => {
  test('wait says by its exit code that the job has not succeeded', async () => {
    const id = await acceptedJob(platform.baseUrl, { model: 'lookup', input: { index: 99 } });
    const { code, stdout, stderr } = await run(['jobs', 'wait', id]);
    expect([code, stderr]).toEqual([3, '']);
    expect(stdout).toMatch(new RegExp(`^${id} {2}failed\n`));
    const got = await run(['jobs', 'get', id, '--json']);
    expect([got.code, json(got.stdout)]).toEqual([0, (await request(`${platform.baseUrl}/jobs/${id}`)).body]);
  });

  test('wait gives up when its time is over, and the job goes on', async () => {
    const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
    const { code, stdout, stderr } = await run(['jobs', 'wait', id, '--wait-timeout', '1s']);
    expect([code, stdout]).toEqual([4, '']);
    expect(stderr).toContain(`onqueue jobs wait ${id}`);
    const canceled = await run(['jobs', 'cancel', id]);
    expect([canceled.code, canceled.stdout]).toEqual([0, expect.stringContaining('canceled')]);
  });

  test('retry opens the next run, and waits for it if told to', async () => {
    const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
    await run(['jobs', 'cancel', id]);
    const { code, stdout } = await run(['jobs', 'retry', id, '--wait', '--json']);
    expect([code, json(stdout)]).toEqual([0, expect.objectContaining({ id, status: 'succeeded', run: 2 })]);
    const again = await run(['jobs', 'retry', id]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('job_not_retryable')]);
  });

  test('a job that is not there is told as such', async () => {
    for (const action of ['get', 'wait', 'cancel', 'retry', 'events', 'result']) {
      const { code, stderr } = await run(['jobs', action, 'job_nowhere']);
      expect([action, code, stderr]).toEqual([action, 1, expect.stringContaining('job_not_found')]);
    }
  });

  test('wait goes on over an API that is started anew', async () => {
    const port = await freePort();
    const env = { ONQUEUE_PORT: String(port) };
    const api = await platform.startApi(env);
    const { body } = await postJob(api.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
    const { ended } = startOnqueue(['jobs', 'wait', body.id, '--json', '--api-url', api.baseUrl]);
    await api.stop();
    const next = await platform.startApi(env);
    await request(`${next.baseUrl}/jobs/${body.id}/cancel`, { method: 'POST' });
    const { code, stdout } = await ended;
    expect([code, json(stdout).status]).toEqual([3, 'canceled']);
    await next.stop();
  });
});

describe('jobs result', () => {
  test('shows how a job ended and its rows: as JSON, as lines, and in a file', async () => {
    const { body } = await postJob(platform.baseUrl, { model: 'linear', inputs: [ROW, ROW] }, { prefer: 'wait=30' });
    const result = await request<string>(`${platform.baseUrl}/jobs/${body.id}/result`);
    const rows = (
      await request<string>(`${platform.baseUrl}/jobs/${body.id}/result`, {
        headers: { accept: 'application/x-ndjson' },
      })
    ).body;
    const shown = await run(['jobs', 'result', body.id]);
    expect([shown.code, json(shown.stdout), shown.stderr]).toEqual([0, result.body, '']);
    const asLines = await run(['jobs', 'result', body.id, '--ndjson']);
    expect([asLines.code, asLines.stdout, lines(asLines.stdout).length]).toEqual([0, rows, 2]);
    const saved = await run(['jobs', 'result', body.id, '--ndjson', '--output', 'rows.out'], { cwd: folder });
    expect([saved.code, saved.stdout]).toEqual([0, `${rows.length} bytes in rows.out\n`]);
    expect(await readFile(join(folder, 'rows.out'), 'utf8')).toBe(rows);
    const whole = await run(['jobs', 'result', body.id, '--output', 'result.json', '--json'], { cwd: folder });
    const written = await readFile(join(folder, 'result.json'), 'utf8');
    expect([whole.code, json(whole.stdout)]).toEqual([
      0,
      { id: body.id, output: 'result.json', bytes: written.length },
    ]);
    expect(json(written)).toEqual(result.body);
  });

  test('a job that has not ended has none, and a file that was there stays', async () => {
    const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
    await writeFile(join(folder, 'old.json'), 'old');
    const early = await run(['jobs', 'result', id, '--output', 'old.json'], { cwd: folder });
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('job_not_finished')]);
    await run(['jobs', 'cancel', id]);
    const without = await run(['jobs', 'result', id, '--ndjson']);
    expect([without.code, without.stderr]).toEqual([1, expect.stringContaining('job_without_rows')]);
    expect(json((await run(['jobs', 'result', id])).stdout)).toMatchObject({ status: 'canceled', results: null });
    const nowhere = await run(['jobs', 'result', id, '--output', 'no/such/folder.json'], { cwd: folder });
    expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining('folder.json cannot be written')]);
    expect(await readFile(join(folder, 'old.json'), 'utf8')).toBe('old');
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });
});

describe('jobs delete', () => {
  const canceled = async () => {
    const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
    await request(`${platform.baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    return id;
  };

  test('removes jobs, many at a time', async () => {
    const ids = [await canceled(), await canceled()];
    const { code, stdout } = await run(['jobs', 'delete', ...ids]);
    expect([code, stdout]).toEqual([0, `${ids[0]}  deleted\n${ids[1]}  deleted\n`]);
    for (const id of ids) expect((await request(`${platform.baseUrl}/jobs/${id}`)).status).toBe(410);
  });

  test('tells of each that cannot be, and removes the others', async () => {
    const [first, active, last] = [
      await canceled(),
      await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW, delay: 3600 }),
      await canceled(),
    ];
    const { code, stdout } = await run(['jobs', 'delete', first, active, 'job_nowhere', last, '--json']);
    expect([code, json(stdout)]).toMatchObject([
      1,
      [
        { id: first, deleted: true, deleted_at: expect.any(String) },
        { id: active, deleted: false, error: expect.stringContaining('job_not_finished'), problem: { status: 409 } },
        { id: 'job_nowhere', deleted: false, problem: { code: 'job_not_found' } },
        { id: last, deleted: true },
      ],
    ]);
    expect((await request(`${platform.baseUrl}/jobs/${active}`)).status).toBe(200);
    expect((await request(`${platform.baseUrl}/jobs/${last}`)).status).toBe(410);
    await run(['jobs', 'cancel', active]);
    expect((await run(['jobs', 'delete'])).code).toBe(2);
  });
});

describe('jobs retry of many', () => {
  const canceledJobs = async (batch: string, count: number) => {
    const ids: string[] = [];
    for (let n = 0; n < count; n++) {
      const order = { model: 'linear', input: ROW, delay: 3600, metadata: { batch } };
      ids.unshift(await acceptedJob(platform.baseUrl, order));
    }
    for (const id of ids) await request(`${platform.baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    return ids;
  };
  const runOf = async (id: string) => (await request(`${platform.baseUrl}/jobs/${id}`)).body.run;

  test('runs all again that the filter lets through, in as many calls as it takes', async () => {
    const ids = await canceledJobs('again', 7);
    const [other] = await canceledJobs('other', 1);
    const filter = ['--status', 'canceled', '--model', 'linear', '--metadata', 'batch=again'];
    const since = ['--created-after', '2020-01-01T00:00:00Z', '--created-before', '2099-01-01T00:00:00Z'];
    const { code, stdout, stderr } = await run(['jobs', 'retry', ...filter, ...since, '--json']);
    expect([code, stderr]).toEqual([0, '']);
    expect(json(stdout)).toEqual(ids.map((id) => ({ id, retried: true, run: 2, code: null })));
    expect(await Promise.all(ids.map(runOf))).toEqual(ids.map(() => 2));
    expect(await runOf(String(other))).toBe(1);
    await Promise.all(ids.map((id) => endedJob(platform.baseUrl, id)));
    const none = await run(['jobs', 'retry', ...filter]);
    expect([none.code, none.stdout]).toEqual([0, '0 run again\n']);
  });

  test('waits for room where the backlog is full, and goes on where it was', async () => {
    const ids = await canceledJobs('room', 5);
    const api = await platform.startApi({ ONQUEUE_BACKLOG_MAX_JOBS: '2' });
    for (const worker of platform.workers) worker.pause();
    const filter = ['--status', 'canceled', '--metadata', 'batch=room', '--api-url', api.baseUrl];
    const { ended } = startOnqueue(['jobs', 'retry', ...filter]);
    await until('the backlog is full', async () => (await runOf(String(ids[1]))) === 2);
    expect(await runOf(String(ids[2]))).toBe(1);
    const late = await run(['jobs', 'retry', ...filter, '--wait-timeout', '0', '--json']);
    expect([late.code, json(late.stdout)]).toMatchObject([
      4,
      { error: expect.stringContaining('backlog_full'), data: [] },
    ]);
    for (const worker of platform.workers) worker.resume();
    expect(await ended).toEqual({ code: 0, stdout: '5 run again\n', stderr: '' });
    const jobs = await Promise.all(ids.map((id) => endedJob(platform.baseUrl, id)));
    expect(jobs.map((job) => [job.status, job.run])).toEqual(ids.map(() => ['succeeded', 2]));
    await api.stop();
  });

  test('ends where it cannot go on, and says how far it came', async () => {
    await canceledJobs('held', 1);
    await run(['queues', 'drain', 'linear']);
    const { code, stderr } = await run(['jobs', 'retry', '--status', 'canceled', '--metadata', 'batch=held']);
    expect([code, stderr]).toEqual([5, expect.stringContaining('lane_draining')]);
    await run(['queues', 'resume', 'linear']);
  });

  test('wants to know which', async () => {
    for (const args of [[], ['job_1', '--status', 'failed'], ['--status', 'failed', '--wait']]) {
      expect((await run(['jobs', 'retry', ...args])).code).toBe(2);
    }
  });

  test('shows how far it is to who watches, and to nobody else', async () => {
    await canceledJobs('watched', 4);
    const shown: string[] = [];
    const printed: string[] = [];
    const atTerminal = {
      args: ['jobs', 'retry', '--status', 'canceled', '--metadata', 'batch=watched', '--api-url', platform.baseUrl],
      env: {},
      cwd: folder,
      print: (text: string) => printed.push(text),
      printError: (text: string) => printed.push(text),
      progress: (text: string) => shown.push(text),
      interrupted: () => new Promise<void>(() => {}),
      readInput: undefined,
    };
    expect(await runCli(atTerminal)).toBe(0);
    expect([shown, printed]).toEqual([['3 run again', '4 run again'], ['4 run again']]);
  });
});

describe('jobs list', () => {
  test('has the newest first, goes on over pages, and filters', async () => {
    const input = { index: 1 };
    const ids: string[] = [];
    for (let i = 0; i < 105; i++) {
      ids.push(await acceptedJob(platform.baseUrl, { model: 'lookup', input, metadata: { batch: 'list' } }));
    }
    const all = await run(['jobs', 'list', '--metadata', 'batch=list', '--all', '--json']);
    expect(lines(all.stdout).map(({ id }) => id)).toEqual(ids.toReversed());
    const some = await run(['jobs', 'list', '--model', 'lookup', '--limit', '2', '--metadata', 'batch=list']);
    expect(some.stdout.trim().split('\n')).toEqual([
      expect.stringMatching(`^${ids[104]}`),
      expect.stringMatching(`^${ids[103]}`),
    ]);
    const none = await run(['jobs', 'list', '--metadata', 'batch=never']);
    expect([none.code, none.stdout]).toEqual([0, '']);
    const refused = await run(['jobs', 'list', '--status', 'finished']);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('?status')]);
  });
});

describe('jobs events', () => {
  test('follows a job to its end, a line an event', async () => {
    const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW });
    const { code, stdout } = await run(['jobs', 'events', id, '--json']);
    expect(code).toBe(0);
    const events = lines(stdout);
    expect(events.map(({ id, type }) => [id, type])).toEqual([
      ['1-0', 'job.queued'],
      ['1-1', 'job.started'],
      ['1-2', 'job.succeeded'],
    ]);
    const rest = await run(['jobs', 'events', id, '--after', '1-1']);
    expect(rest.stdout).toMatch(/^\S+ {2}1-2 {2}job\.succeeded {2}run 1\n$/);
    const over = await run(['jobs', 'events', id, '--after', '1-2']);
    expect([over.code, over.stdout]).toEqual([0, '']);
  });

  test('goes on over an API that is started anew, with each event once', async () => {
    const env = { ONQUEUE_PORT: String(await freePort()) };
    const api = await platform.startApi(env);
    const { body } = await postJob(api.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
    const { child, ended } = startOnqueue(['jobs', 'events', body.id, '--json', '--api-url', api.baseUrl]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await api.stop();
    const next = await platform.startApi(env);
    await request(`${next.baseUrl}/jobs/${body.id}/cancel`, { method: 'POST' });
    const { code, stdout } = await ended;
    expect(code).toBe(0);
    expect(lines(stdout).map(({ type }) => type)).toEqual(['job.queued', 'job.canceled']);
    await next.stop();
  });
});

describe('queues', () => {
  const queueOf = async (model: string) =>
    json((await run(['queues', '--json'])).stdout).find((queue: { model: string }) => queue.model === model);

  test('shows lanes, holds them, and lets them go on', async () => {
    const paused = await run(['queues', 'pause', 'slow']);
    expect([paused.code, paused.stdout]).toEqual([0, 'slow interactive: paused\nslow bulk: paused\n']);
    const resumed = await run(['queues', 'resume', 'slow', '--lane', 'bulk', '--json']);
    expect(json(resumed.stdout)).toEqual([{ object: 'lane', model: 'slow', lane: 'bulk', state: 'open' }]);
    expect(await queueOf('slow')).toMatchObject({
      lanes: [
        { lane: 'interactive', state: 'paused', waiting_jobs: 0 },
        { lane: 'bulk', state: 'open', waiting_jobs: 0 },
      ],
    });
    const drained = await run(['queues', 'drain', 'lookup', '--lane', 'bulk']);
    expect(drained.stdout).toBe('lookup bulk: draining\n');
    const refused = await run(['jobs', 'submit', 'lookup', '--lane', 'bulk', '--input', '{"index": 1}']);
    expect([refused.code, refused.stderr]).toEqual([5, expect.stringContaining('lane_draining, 503')]);
    const table = await run(['queues']);
    expect(table.stdout).toMatch(/^MODEL +LANE +STATE +WAITING +OLDEST/);
    expect(table.stdout).toMatch(/^lookup +bulk +draining +0/m);
    await run(['queues', 'resume', 'slow']);
    await run(['queues', 'resume', 'lookup']);
  });

  test('purge cancels what waits, in as many calls as it takes, when told --yes', async () => {
    await run(['queues', 'pause', 'lookup', '--lane', 'bulk']);
    const post = () => acceptedJob(platform.baseUrl, { model: 'lookup', input: { index: 1 }, lane: 'bulk' });
    const ids = await Promise.all(Array.from({ length: 8 }, post));
    expect((await queueOf('lookup')).lanes[1]).toMatchObject({ state: 'paused', waiting_jobs: 8 });
    const asked = await run(['queues', 'purge', 'lookup']);
    expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
    const { code, stdout } = await run(['queues', 'purge', 'lookup', '--yes', '--json']);
    expect([code, json(stdout)]).toEqual([
      0,
      [
        { model: 'lookup', lane: 'interactive', purged: 0 },
        { model: 'lookup', lane: 'bulk', purged: 8 },
      ],
    ]);
    const states = await Promise.all(ids.map((id) => endedJob(platform.baseUrl, id)));
    expect(new Set(states.map(({ status }) => status))).toEqual(new Set(['canceled']));
    await run(['queues', 'resume', 'lookup']);
  });

  test('a model or a lane that is none is refused', async () => {
    const model = await run(['queues', 'pause', 'nothing']);
    expect([model.code, model.stderr]).toEqual([1, expect.stringContaining('model_not_found')]);
    const lane = await run(['queues', 'pause', 'slow', '--lane', 'express']);
    expect([lane.code, lane.stderr]).toEqual([2, expect.stringContaining('Allowed choices are interactive, bulk')]);
  });
});

describe('an API that cannot be reached', () => {
  test('is told, with what to do, under an exit code of its own', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stderr } = await onqueue(['queues', '--api-url', url]);
    expect(code).toBe(5);
    expect(stderr).toMatch(
      /^The API at http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED.*npm start.*ONQUEUE_API_URL/,
    );
  });

  test('and one that is no API, or no URL', async () => {
    const other = await startReceiver();
    other.respond({ status: 404, body: 'nothing' }, { status: 200, body: '{}' });
    const missing = await onqueue(['jobs', 'get', 'job_1', '--api-url', other.url('')]);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('is it the API of onqueue?')]);
    const strange = await onqueue(['jobs', 'get', 'job_1', '--api-url', other.url('')]);
    expect([strange.code, strange.stderr]).toEqual([
      1,
      expect.stringContaining('answered 200 to GET /jobs/job_1, and not as'),
    ]);
    await other.close();
    const none = await onqueue(['queues', '--api-url', 'localhost']);
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('is no URL')]);
  });
});

test('whoever stops reading ends it, and that is no failure', async () => {
  const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: ROW, delay: 3600 });
  const { child, ended: cutOff } = startOnqueue(['jobs', 'events', id], { env: { ONQUEUE_API_URL: platform.baseUrl } });
  cutOff.catch(() => {});
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  child.stdout.destroy();
  await request(`${platform.baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
  expect(await ended).toEqual([0, null]);
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { type ChildService, type ChildServiceOptions, freePort, httpGet, startChildService } from '@onqueue/launcher';
import { type FixtureService, writeFixtureService } from './support/fixture-service.ts';

let fixture: FixtureService;
const open: ChildService[] = [];

beforeEach(async () => {
  fixture = await writeFixtureService();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((service) => service.kill()));
  await fixture.remove();
});

async function service(behaviour: string, more: Partial<ChildServiceOptions> = {}): Promise<ChildService> {
  const port = await freePort();
  const started = await startChildService({
    name: 'fixture',
    entry: fixture.entry,
    env: { PATH: process.env.PATH, FIXTURE: behaviour, ONQUEUE_PORT: String(port) },
    baseUrl: `http://127.0.0.1:${port}`,
    ...more,
  });
  open.push(started);
  return started;
}

test('is ready when /readyz answers 200', async () => {
  const started = await service('well');
  await started.ready;
  expect((await httpGet(`${started.baseUrl}/readyz`)).status).toBe(200);
  expect(started.logs()).toContain('listening');
});

test('a process that ends before it is ready is told with its last lines, without waiting for the deadline', async () => {
  const started = await service('dies');
  await expect(started.ready).rejects.toThrow(
    'The fixture ended before it was ready (exit code 3). Its last lines:\n  first words\n  the model is missing',
  );
  expect(await started.exited).toEqual({ code: 3, signal: null });
});

test('a process that says itself why it ends is told in one line', async () => {
  const started = await service('refuses');
  await expect(started.ready).rejects.toThrow(/^The fixture did not start: Redis may evict jobs: set noeviction\.$/);
});

test('what it says itself is not written to the terminal a second time, in JSON', async () => {
  const written: string[] = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const started = await service('refuses', { log: 'inherit' });
  await expect(started.ready).rejects.toThrow(/Redis may evict/);
  jest.restoreAllMocks();
  expect(written).toEqual(['{"level":30,"msg":"starts"}\n']);
});

test('a process that waits for somebody else has no deadline, and the wait is told once', async () => {
  let toldTimes = 0;
  const { promise: isTold, resolve: tell } = newPromise();
  const started = await service('waits', {
    readyTimeoutMs: 1900,
    isWaiting: ({ body }) => body.includes('reconnecting'),
    onWaiting: () => {
      toldTimes += 1;
      tell();
    },
  });
  await Promise.race([isTold, started.ready]);
  await httpGet(`${started.baseUrl}/come`);
  await started.ready;
  expect(toldTimes).toBe(1);
});

test('a process that never becomes ready is told at the deadline', async () => {
  const started = await service('never ready', { readyTimeoutMs: 200 });
  await expect(started.ready).rejects.toThrow('The fixture was not ready after 0.2 s. Its last lines:');
});

test('stop lets it end in good order', async () => {
  const started = await service('well');
  await started.ready;
  expect(await started.stop()).toEqual({ code: 0, signal: null });
  expect(started.hasExited).toBe(true);
  expect(started.logs()).toEqual(['listening', 'draining']);
});

test('stop kills what does not listen, after the deadline', async () => {
  const started = await service('deaf');
  await started.ready;
  expect(await started.stop('SIGTERM', 100)).toEqual({ code: null, signal: 'SIGKILL' });
});

test('stop reaches a process that is paused', async () => {
  const started = await service('well');
  await started.ready;
  started.pause();
  expect(await started.stop()).toEqual({ code: 0, signal: null });
});

test('kill ends it at once, and can be called again', async () => {
  const started = await service('deaf');
  await started.ready;
  await started.kill();
  expect(await started.kill()).toEqual({ code: null, signal: 'SIGKILL' });
});

test('appends its lines to a file', async () => {
  const file = join(fixture.folder, 'service.log');
  const started = await service('well', { log: { file } });
  await started.ready;
  await started.stop();
  expect(await readFile(file, 'utf8')).toBe('listening\ndraining\n');
});

function newPromise() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

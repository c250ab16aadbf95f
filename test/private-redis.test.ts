import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { freePort, type RedisServer, type RedisServerOptions, repoRoot } from '@onqueue/launcher';
import { startPrivateRedis } from './support/platform.ts';

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function open(options: RedisServerOptions = {}): Promise<RedisServer> {
  const redis = await startPrivateRedis(options);
  cleanUps.push(() => redis.stop());
  return redis;
}

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'onqueue-data-'));
  cleanUps.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** The words of the answer to one command, without the lengths that the protocol puts before them. */
async function ask(port: number, command: string): Promise<string[]> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  socket.write(`${command}\r\nQUIT\r\n`);
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer.split('\r\n').filter((line) => !/^[*$]\d+$/.test(line));
}

const setting = async (port: number, name: string) => (await ask(port, `CONFIG GET ${name}`))[1];

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('keeps an append-only file, evicts nothing, and listens on this machine only', async () => {
  const { port } = await open();
  expect(await setting(port, 'appendonly')).toBe('yes');
  expect(await setting(port, 'appendfsync')).toBe('everysec');
  expect(await setting(port, 'maxmemory-policy')).toBe('noeviction');
  expect(await setting(port, 'bind')).toBe('127.0.0.1');
});

test('applies no half of a script that the append-only file was cut in, at the next start and the one after it', async () => {
  const redis = await open({ appendfsync: 'always' });
  const addBoth = (count: number) =>
    ask(redis.port, `EVAL "redis.call('INCRBY','a',${count}) return redis.call('INCRBY','b',${count})" 0`);
  await addBoth(1);
  await addBoth(10);
  await redis.kill();
  const [file] = readdirSync(redis.dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /appendonly\.aof(\.1\.incr\.aof)?$/.test(name))
    .map((name) => join(redis.dataDir, name))
    .filter((path) => statSync(path).isFile());
  if (!file) throw new Error('no append-only file');
  // Through the second command of the last script.
  truncateSync(file, statSync(file).size - 'b\r\n$2\r\n10\r\n*1\r\n$4\r\nEXEC\r\n'.length);
  await redis.restart();
  expect(await ask(redis.port, 'MGET a b')).toEqual(['1', '1', '+OK', '']);
  await addBoth(100);
  await redis.kill();
  await redis.restart();
  expect(await ask(redis.port, 'MGET a b')).toEqual(['101', '101', '+OK', '']);
});

test('takes the settings that it is given', async () => {
  const { port } = await open({ appendfsync: 'off', maxmemory: '64mb', args: ['--databases', '2'] });
  expect(await setting(port, 'appendonly')).toBe('no');
  expect(await setting(port, 'maxmemory')).toBe(String(64 * 1024 * 1024));
  expect(await setting(port, 'databases')).toBe('2');
});

test('leaves no process and no folder when it is stopped', async () => {
  const redis = await open();
  await redis.stop();
  await redis.stop();
  expect(isAlive(redis.pid)).toBe(false);
  expect(existsSync(redis.dataDir)).toBe(false);
});

test('comes back on the same port with its data after a SIGKILL', async () => {
  const redis = await open({ appendfsync: 'always' });
  const { port, pid } = redis;
  await ask(port, 'SET greeting hello');
  await redis.kill();
  expect(isAlive(pid)).toBe(false);
  await redis.restart();
  expect(redis.port).toBe(port);
  expect(redis.pid).not.toBe(pid);
  expect((await ask(port, 'GET greeting'))[0]).toBe('hello');
});

test('stops also while it is paused', async () => {
  const redis = await open();
  redis.pause();
  await redis.stop();
  expect(isAlive(redis.pid)).toBe(false);
});

test('keeps a data folder that it was given, and shares it with no second server', async () => {
  const dataDir = await dataFolder();
  const first = await open({ dataDir });
  await expect(startPrivateRedis({ dataDir })).rejects.toThrow(/is in use by process \d+/);
  await ask(first.port, 'SET greeting hello');
  await first.stop();
  const second = await open({ dataDir });
  expect((await ask(second.port, 'GET greeting'))[0]).toBe('hello');
});

test('refuses a port that another program has, in one line', async () => {
  const other = createServer((socket) => socket.destroy()).listen(await freePort(), '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await expect(startPrivateRedis({ port })).rejects.toThrow(`redis-server cannot use port ${port}: it is taken.`);
  other.close();
  await once(other, 'close');
});

test('does not take another Redis on that port for its own', async () => {
  const { port } = await open();
  await expect(startPrivateRedis({ port })).rejects.toThrow(`redis-server cannot use port ${port}: it is taken.`);
  expect((await ask(port, 'PING'))[0]).toBe('+PONG');
});

test("never takes the port of the machine's own Redis", async () => {
  await expect(startPrivateRedis({ port: 6379 })).rejects.toThrow("left to the machine's own Redis");
});

test('says what to do when there is no binary, and what the server said when it does not start', async () => {
  await expect(startPrivateRedis({ binary: '/nowhere/redis-server' })).rejects.toThrow(
    'Cannot run /nowhere/redis-server (ENOENT). Install redis-server 6.2 or newer',
  );
  await expect(startPrivateRedis({ args: ['--no-such-directive', 'yes'] })).rejects.toThrow(
    /^redis-server did not start \(exit code 1\): .*no-such-directive/,
  );
});

test('does not outlive the process that started it, even when that is killed', async () => {
  const source = `
    import { startRedisServer } from '@onqueue/launcher';
    const { port } = await startRedisServer({ dataDir: ${JSON.stringify(await dataFolder())} });
    console.log(port);`;
  const owner = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: repoRoot,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(owner.stdout.setEncoding('utf8'), 'data');
  const client = connect(Number(line), '127.0.0.1');
  await once(client, 'connect');
  const closed = once(client, 'close');
  owner.kill('SIGKILL');
  await closed;
});

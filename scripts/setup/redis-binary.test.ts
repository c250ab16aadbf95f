import { expect, test } from '@jest/globals';
import { ensureRedisBinary, parseRedisVersion } from './redis-binary.mjs';

const NEW = 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1';
const OLD = 'Redis server v=5.0.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64 build=1';

interface Machine {
  programs: Record<string, string>;
  env?: NodeJS.ProcessEnv;
  /** What an installation brings, or why it fails. */
  installs?: Record<string, string> | string;
}

/** A machine with these programs; returns the path that is chosen, or the message, and why something was installed. */
async function choose({ programs, env = {}, installs = 'no network' }: Machine) {
  const present = { ...programs };
  let reason: string | undefined;
  const path = await ensureRedisBinary({
    root: '/repo',
    env: { PATH: '/home/me/bin:/snap/bin', ...env },
    isExecutable: async (file: string) => file in present,
    run: async (command: string) => ({ code: 0, stdout: present[command] ?? '', stderr: '' }),
    install: async (ports: { reason: string }) => {
      reason = ports.reason;
      if (typeof installs === 'string') return installs;
      Object.assign(present, installs);
      return null;
    },
  }).catch((error: Error) => error.message);
  return { path, reason };
}

test('ONQUEUE_REDIS_SERVER comes before PATH', async () => {
  const programs = { '/opt/redis': NEW, '/home/me/bin/redis-server': NEW };
  expect((await choose({ programs, env: { ONQUEUE_REDIS_SERVER: '/opt/redis' } })).path).toBe('/opt/redis');
});

test('PATH comes before the usual places, and those before what was unpacked', async () => {
  const unpacked = { '/repo/.onqueue/redis/redis-server': NEW };
  const usual = { ...unpacked, '/usr/bin/redis-server': NEW };
  expect((await choose({ programs: { ...usual, '/snap/bin/redis-server': NEW } })).path).toBe('/snap/bin/redis-server');
  expect((await choose({ programs: usual })).path).toBe('/usr/bin/redis-server');
  expect((await choose({ programs: unpacked })).path).toBe('/repo/.onqueue/redis/redis-server');
});

test('a server that is too old is passed over', async () => {
  const programs = { '/home/me/bin/redis-server': OLD, '/usr/bin/redis-server': NEW };
  expect((await choose({ programs })).path).toBe('/usr/bin/redis-server');
});

test('installs when there is none, and takes what came', async () => {
  const chosen = await choose({ programs: {}, installs: { '/usr/bin/redis-server': NEW } });
  expect(chosen).toEqual({ path: '/usr/bin/redis-server', reason: 'none was found and REDIS_URL is not set' });
});

test('says which one is too old when the installation brings nothing newer', async () => {
  const chosen = await choose({ programs: { '/usr/bin/redis-server': OLD }, installs: {} });
  expect(chosen.reason).toBe('/usr/bin/redis-server is version 5.0');
  expect(chosen.path).toContain('needs redis-server 6.2 or newer: /usr/bin/redis-server is version 5.0.');
});

test('a failed installation becomes one line with the ways out', async () => {
  const { path } = await choose({ programs: {}, installs: 'this user may not install packages' });
  expect(path).toMatch(
    /^onqueue needs redis-server 6\.2 or newer: this user may not install packages\. Install it yourself[^\n]*$/,
  );
  expect(path).toContain('REDIS_URL=redis://');
});

test('a wrong ONQUEUE_REDIS_SERVER is told, not worked around', async () => {
  const programs = { '/usr/bin/redis-server': NEW, '/opt/old': OLD };
  expect((await choose({ programs, env: { ONQUEUE_REDIS_SERVER: '/opt/none' } })).path).toContain(
    '/opt/none is not a program',
  );
  expect((await choose({ programs, env: { ONQUEUE_REDIS_SERVER: '/opt/old' } })).path).toContain(
    '/opt/old is version 5.0',
  );
});

test('reads versions of Redis and Valkey', () => {
  expect(parseRedisVersion(NEW)).toEqual([7, 0]);
  expect(parseRedisVersion('Valkey server v=8.1.3 sha=0 malloc=libc')).toEqual([8, 1]);
  expect(parseRedisVersion('command not found')).toBeNull();
});

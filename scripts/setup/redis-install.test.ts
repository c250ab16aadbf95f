import { expect, test } from '@jest/globals';
import { installRedis } from './redis-install.mjs';

interface Situation {
  platform?: string;
  uid?: number;
  /** Command lines (by a part of them) that fail, and with what. */
  failing?: Record<string, string>;
  unpackProblem?: string | null;
}

async function install({ platform = 'linux', uid = 0, failing = {}, unpackProblem = null }: Situation) {
  const ran: string[] = [];
  const said: string[] = [];
  const problem = await installRedis({
    root: '/repo',
    env: {},
    platform,
    uid,
    reason: 'none was found',
    say: (line: string) => said.push(line),
    unpack: async () => unpackProblem,
    run: async (command: string, args: readonly string[]) => {
      const line = [command, ...args].join(' ');
      ran.push(line);
      const failure = Object.entries(failing).find(([part]) => line.includes(part));
      return failure ? { code: 100, stdout: '', stderr: failure[1] } : { code: 0, stdout: '', stderr: '' };
    },
  });
  return { problem, ran, said };
}

test('root installs with apt-get, says so first, and keeps the service from running', async () => {
  const { problem, ran, said } = await install({});
  expect(problem).toBeNull();
  expect(said).toEqual(['Installing redis-server (apt-get install redis-server): none was found…']);
  expect(ran).toContain(
    'env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=60 redis-server',
  );
  expect(ran.at(-1)).toBe('systemctl disable --now redis-server.service');
});

test('another user installs through a sudo that asks for no password', async () => {
  const { ran, said } = await install({ uid: 1000 });
  expect(said[0]).toContain('sudo -n apt-get install redis-server');
  expect(ran.some((line) => line.startsWith('sudo -n env DEBIAN_FRONTEND'))).toBe(true);
});

test('refreshes the package lists once when the package is not known', async () => {
  const { problem, ran } = await install({ failing: { ' install ': 'E: Unable to locate package redis-server' } });
  expect(ran.filter((line) => line.includes('apt-get update'))).toHaveLength(1);
  expect(problem).toBeNull();
});

test('without rights it unpacks into .onqueue', async () => {
  const { problem, said } = await install({ uid: 1000, failing: { 'sudo -n true': 'a password is required' } });
  expect(problem).toBeNull();
  expect(said).toEqual([
    'Unpacking redis-server into .onqueue/redis (apt-get download): none was found, and this user may not install packages…',
  ]);
});

test('tells both reasons when neither works', async () => {
  const { problem } = await install({
    failing: { ' install ': 'Reading lists\nE: Unable to fetch some archives\n' },
    unpackProblem: "'apt-get download redis-server' failed",
  });
  expect(problem).toBe(
    "'apt-get install redis-server' failed (E: Unable to fetch some archives), and 'apt-get download redis-server' failed",
  );
});

test('uses Homebrew on macOS', async () => {
  const { problem, said } = await install({ platform: 'darwin' });
  expect(problem).toBeNull();
  expect(said).toEqual(['Installing redis (brew install redis): none was found…']);
});

test('says when there is no package manager that it knows', async () => {
  const { problem } = await install({ failing: { 'apt-get --version': '' } });
  expect(problem).toBe('it is not here, and there is neither apt-get nor Homebrew to install it');
});

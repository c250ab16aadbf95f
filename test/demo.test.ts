import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { freePort, repoRoot } from '@onqueue/launcher';
import { until } from './support/until.ts';

const ENTRY = join(repoRoot, 'packages', 'launcher', 'dist', 'bin', 'demo.js');

let child: ReturnType<typeof spawn> | undefined;

afterEach(() => {
  child?.kill('SIGKILL');
});

/** The demo as `npm run demo` starts it, its output as it comes. */
function startDemo(args: string[] = [], env: NodeJS.ProcessEnv = {}) {
  const demo = spawn(process.execPath, [ENTRY, ...args], {
    cwd: repoRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ONQUEUE_CACHE_DIR: join(tmpdir(), 'onqueue-test-cache'), ...env },
  });
  child = demo;
  const said = { out: '', err: '' };
  demo.stdout.on('data', (chunk) => {
    said.out += chunk;
  });
  demo.stderr.on('data', (chunk) => {
    said.err += chunk;
  });
  return { demo, said, exited: once(demo, 'close').then(([code]) => code as number) };
}

/** Processes of a platform that some ancestor's line of commands started: our demo's are its descendants. */
function descendants(pid: number | undefined): number[] {
  const table = execFileSync('ps', ['-e', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number]);
  const found = new Set([pid]);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [child, parent] of table) if (found.has(parent)) found.add(child);
  }
  found.delete(pid);
  return [...found] as number[];
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    // A zombie is dead already; only its parent has not looked.
    return !/^State:\s+Z/m.test(readStatus(pid));
  } catch {
    return false;
  }
};

function readStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

test('shows a fraud score, a digit, batches and a verified webhook, exits 0 and leaves nothing running', async () => {
  const { demo, said, exited } = startDemo();
  let processes: number[] = [];
  await until('the demo is under way', () => {
    processes = descendants(demo.pid);
    return said.out.includes('2. A handwritten digit');
  });
  expect(await exited).toBe(0);
  expect(said.err).toBe('');
  expect(said.out).toMatch(/"probability":0\.\d+,"decision":"(allow|step_up|block)"/);
  expect(said.out).toContain('{"label":"7"');
  expect(said.out).toMatch(/all 500 succeeded/);
  // How large they grow depends on how fast the machine takes the burst; that they form does not.
  expect(said.out).toMatch(/(2-7|8-31|32-64) rows .*[1-9]\d* jobs/);
  expect(said.out).toContain('the signature is genuine');
  expect(said.out.match(/^curl -s http:\/\/127\.0\.0\.1:\d+\/jobs -H/gm)).toHaveLength(3);
  expect(processes.length).toBeGreaterThanOrEqual(3);
  expect(processes.filter(isAlive)).toEqual([]);
});

test('can be interrupted at any time, and still leaves nothing running', async () => {
  const { demo, said, exited } = startDemo();
  let processes: number[] = [];
  await until('the demo is under way', () => {
    processes = descendants(demo.pid);
    return said.out.includes('1. A fraud score');
  });
  demo.kill('SIGINT');
  expect(await exited).toBe(130);
  expect(processes.filter(isAlive)).toEqual([]);
});

test('says what it takes', async () => {
  const help = startDemo(['--help']);
  expect([await help.exited, help.said.out]).toEqual([0, expect.stringContaining('npm run demo')]);
  const wrong = startDemo(['--fast']);
  expect([await wrong.exited, wrong.said.err]).toEqual([1, expect.stringContaining("takes no '--fast'")]);
});

test('says within seconds which Redis it waits for, and what to do', async () => {
  const url = `redis://user:S3CR3T@127.0.0.1:${await freePort()}`;
  const { demo, said, exited } = startDemo([], { REDIS_URL: url });
  await until('it says so', () => said.out.includes('Waiting for Redis'), 20_000);
  expect(said.out).toMatch(
    /^Waiting for Redis at redis:\/\/127\.0\.0\.1:\d+ \(REDIS_URL\); start it, or unset REDIS_URL for a private one\. Ctrl-C gives up\.$/m,
  );
  demo.kill('SIGINT');
  expect(await exited).toBe(130);
  expect(said.out + said.err).not.toContain('S3CR3T');
});

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ensureNpmPackages } from './npm-packages.mjs';

const lock = (version: string) => ({
  packages: {
    '': { name: 'root' },
    'node_modules/zod': { version, integrity: `sha512-${version}` },
    'node_modules/for-mac': { version: '1.0.0', optional: true },
  },
});
const installed = (version: string) => ({
  packages: { 'node_modules/zod': lock(version).packages['node_modules/zod'] },
});

let root: string;
let said: string[];
let ran: string[][];
let answer: { code: number; stdout: string; stderr: string };

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-npm-'));
  said = [];
  ran = [];
  answer = { code: 0, stdout: '', stderr: '' };
  await writeFile(join(root, 'package-lock.json'), JSON.stringify(lock('4.0.0')));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function install(version: string) {
  await mkdir(join(root, 'node_modules'), { recursive: true });
  await writeFile(join(root, 'node_modules', '.package-lock.json'), JSON.stringify(installed(version)));
}

const ensure = (env: NodeJS.ProcessEnv = {}) =>
  ensureNpmPackages({
    root,
    env,
    say: (line: string) => said.push(line),
    run: async (command: string, args: readonly string[]) => {
      ran.push([command, ...args]);
      if (answer.code === 0) await install('4.0.0');
      return answer;
    },
  });

test('installs when node_modules is missing, says why, and not again', async () => {
  await ensure();
  await ensure();
  expect(ran).toEqual([['npm', 'ci', '--include=dev', '--no-progress']]);
  expect(said).toEqual(['Installing npm packages (npm ci): node_modules is missing…']);
});

test('installs with the npm that runs the script', async () => {
  await ensure({ npm_execpath: '/opt/npm/bin/npm-cli.js' });
  expect(ran[0]?.slice(0, 3)).toEqual([process.execPath, '/opt/npm/bin/npm-cli.js', 'ci']);
});

test('installs again when the lock has changed', async () => {
  await ensure();
  await writeFile(join(root, 'package-lock.json'), JSON.stringify(lock('4.1.0')));
  await ensure();
  expect(said.at(-1)).toBe('Installing npm packages (npm ci): node_modules is not what package-lock.json says…');
});

test('leaves packages alone that were installed by hand and agree with the lock', async () => {
  await install('4.0.0');
  await ensure();
  expect(ran).toEqual([]);
  expect(said).toEqual([]);
});

test.each([
  [
    'npm error code ENOTFOUND\nnpm error network request to https://registry.npmjs.org failed',
    'the npm registry cannot be reached',
  ],
  [
    "npm error code EACCES\nnpm error Error: EACCES: permission denied, mkdir '/x'",
    'no permission to write node_modules',
  ],
  ['npm error code EUSAGE\nnpm error `npm ci` can only install packages when they are in sync', 'do not agree'],
  ['spawn npm ENOENT', 'npm was not found'],
  ['npm error something new', 'the log says why'],
])('a failing npm (%j) becomes one line that says what to do', async (stderr, advice) => {
  answer = { code: 1, stdout: '', stderr };
  const message = await ensure().catch((error: Error) => error.message);
  expect(message).toMatch(/^npm ci failed \(exit code 1\): [^\n]+$/);
  expect(message).toContain(advice);
  expect(await readFile(join(root, '.onqueue', 'npm-ci.log'), 'utf8')).toBe(stderr);
});

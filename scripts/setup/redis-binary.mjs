import { access, constants } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { installRedis } from './redis-install.mjs';
import { repoRoot } from './repo-root.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * @typedef {object} RedisPorts
 * @property {string} [root]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [platform]
 * @property {typeof runCommand} [run]
 * @property {(line: string) => void} [say]
 * @property {(path: string) => Promise<boolean>} [isExecutable]
 * @property {typeof installRedis} [install]
 */

/**
 * The path of a redis-server that is new enough: the one of ONQUEUE_REDIS_SERVER, else the first on PATH, in the usual
 * places or in .onqueue/redis, else one that is installed now. Valkey, which speaks the same protocol, will do.
 *
 * @param {RedisPorts} [ports]
 * @returns {Promise<string>}
 */
export async function ensureRedisBinary(ports = {}) {
  const {
    root = repoRoot,
    env = process.env,
    run = runCommand,
    isExecutable = canExecute,
    install = installRedis,
  } = ports;
  const look = { root, env, run, isExecutable };
  if (env.ONQUEUE_REDIS_SERVER) return requireNamed(env.ONQUEUE_REDIS_SERVER, look);
  const found = await find(look);
  if (found.path !== null) return found.path;
  const problem = await install({
    root,
    env,
    run,
    platform: ports.platform ?? process.platform,
    say: ports.say ?? console.log,
    reason: found.tooOld ?? 'none was found and REDIS_URL is not set',
  });
  const installed = problem === null ? await find(look) : found;
  if (installed.path !== null) return installed.path;
  throw new SetupError(
    `onqueue needs redis-server 6.2 or newer: ${problem ?? installed.tooOld ?? 'it was installed but is not on PATH'}. ${WAYS_OUT}`,
  );
}

/** [major, minor] of `redis-server --version`; null when that is no version. */
export function parseRedisVersion(text) {
  const match = /\bv=(\d+)\.(\d+)/.exec(text);
  return match === null ? null : [Number(match[1]), Number(match[2])];
}

const WAYS_OUT =
  "Install it yourself (for example 'sudo apt-get install redis-server'), name it in ONQUEUE_REDIS_SERVER, or use a Redis that runs elsewhere: 'docker run -d -p 127.0.0.1:6380:6379 redis:7' and REDIS_URL=redis://127.0.0.1:6380";
/** npm and desktop shells often run with a PATH that lacks these. */
const USUAL_PLACES = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/usr/sbin'];
const NAMES = ['redis-server', 'valkey-server'];

async function requireNamed(path, { env, run, isExecutable }) {
  const candidates = isAbsolute(path) || path.includes('/') ? [path] : onPath(env, [path]);
  for (const candidate of candidates) {
    if (!(await isExecutable(candidate))) continue;
    const version = await versionOf(candidate, run);
    if (isNewEnough(version)) return candidate;
    throw new SetupError(
      `ONQUEUE_REDIS_SERVER=${path} is ${describe(version)}; onqueue needs redis-server 6.2 or newer.`,
    );
  }
  throw new SetupError(
    `ONQUEUE_REDIS_SERVER=${path} is not a program. Set it to the path of redis-server 6.2 or newer, or unset it.`,
  );
}

async function find({ root, env, run, isExecutable }) {
  const private_ = join(root, '.onqueue', 'redis', 'redis-server');
  const usual = NAMES.flatMap((name) => USUAL_PLACES.map((folder) => join(folder, name)));
  let tooOld = null;
  for (const path of new Set([...onPath(env, NAMES), ...usual, private_])) {
    if (!(await isExecutable(path))) continue;
    const version = await versionOf(path, run);
    if (isNewEnough(version)) return { path, tooOld: null };
    tooOld ??= `${path} is ${describe(version)}`;
  }
  return { path: null, tooOld };
}

function onPath(env, names) {
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return names.flatMap((name) => folders.map((folder) => join(folder, name)));
}

async function versionOf(path, run) {
  const { code, stdout } = await run(path, ['--version']);
  return code === 0 ? parseRedisVersion(stdout) : null;
}

function isNewEnough(version) {
  return version !== null && (version[0] > 6 || (version[0] === 6 && version[1] >= 2));
}

function describe(version) {
  return version === null ? 'no redis-server that runs' : `version ${version.join('.')}`;
}

function canExecute(path) {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

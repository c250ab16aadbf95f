import { ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm-packages.mjs';
import { ensureRedisBinary } from './redis-binary.mjs';
import { runToEnd } from './run-to-end.mjs';
import { SetupError } from './setup-error.mjs';

const PLATFORM = ['packages/launcher', 'apps/api', 'apps/worker'];

export const start = (args) => command(['packages/launcher/dist/bin/start.js', ...args], useRedis, PLATFORM);
export const demo = (args) => command(['packages/launcher/dist/bin/demo.js', ...args], useRedis, PLATFORM);
export const bench = (args) => command(['bench/dist/bench/src/main.js', ...args], useRedis, [...PLATFORM, 'bench']);

const JEST = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'];
/** jest's global setup builds, so that it also happens when jest is called by hand. */
export const test = (args) => command([...JEST, ...args], useTestRedis, []);

/** Sets up what is missing, runs Node with the arguments and takes over its exit code. */
async function command(nodeArgs, useRedisServer, projects) {
  try {
    await ensureNpmPackages();
    const env = { ...process.env, ...(await useRedisServer(process.env)) };
    if (projects.length > 0) await ensureBuild(projects);
    process.exitCode = await runToEnd(nodeArgs, env);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

async function useRedis(env) {
  return env.REDIS_URL ? {} : { ONQUEUE_REDIS_SERVER: await ensureRedisBinary() };
}

/** Tests kill and restart servers of their own, which no REDIS_URL can stand in for. */
async function useTestRedis(env) {
  try {
    return { ONQUEUE_REDIS_SERVER: await ensureRedisBinary() };
  } catch (error) {
    if (!(error instanceof SetupError) || !env.REDIS_URL) throw error;
    throw new SetupError(
      'The tests start, kill and restart redis-servers of their own, so REDIS_URL is not enough: install redis-server 6.2 or newer, or set ONQUEUE_REDIS_SERVER to its path.',
      { cause: error },
    );
  }
}

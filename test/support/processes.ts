import { join } from 'node:path';
import { type ChildService, freePort, repoRoot, startChildService } from '@onqueue/launcher';

type Env = Record<string, string>;

/** An API on its own, ready or not: for tests of how a process starts. */
export async function startApi({ redisUrl, env = {} }: { redisUrl: string; env?: Env }): Promise<ChildService> {
  return start('api', await freePort(), 'ONQUEUE_PORT', { REDIS_URL: redisUrl, ...env });
}

/** A worker on its own. */
export async function startWorker(options: { redisUrl: string; modelsDir: string; env?: Env }): Promise<ChildService> {
  const { redisUrl, modelsDir, env = {} } = options;
  return start('worker', await freePort(), 'ONQUEUE_WORKER_PORT', {
    REDIS_URL: redisUrl,
    ONQUEUE_MODELS_DIR: modelsDir,
    ...env,
  });
}

function start(name: 'api' | 'worker', port: number, portVariable: string, env: Env): Promise<ChildService> {
  return startChildService({
    name,
    entry: join(repoRoot, 'apps', name, 'dist', 'main.js'),
    env: { PATH: process.env.PATH, HOME: process.env.HOME, [portVariable]: String(port), ...env },
    baseUrl: `http://127.0.0.1:${port}`,
    cwd: repoRoot,
  });
}

import { type Platform, type PlatformOptions, type RedisServer, startRedisServer } from '@onqueue/launcher';
import { request } from '../../support/client.ts';
import { type RedisProxy, startRedisProxy } from '../../support/job-source-proxy.ts';
import { writeTestModels } from '../../support/models/models-dir.ts';
import { startPlatformForTests } from '../../support/platform.ts';
import { until } from '../../support/until.ts';
import type { JobSourceKind } from './job-sources.ts';
import { WebhookSink } from './webhook-sink.ts';

/** The usual topology, two APIs and two workers on a Redis of their own, with a receiver for webhooks. */
export interface FaultPlatform {
  platform: Platform;
  redis: RedisServer;
  /** Stands between all processes and Redis. */
  proxy: RedisProxy;
  sink: WebhookSink;
  modelsDir: string;
  close(): Promise<void>;
}

export interface FaultPlatformOptions extends Omit<PlatformOptions, 'redis'> {
  source?: JobSourceKind;
  /** Of those that tests have; each is one more process for each worker to start. */
  models?: readonly string[];
  /** Writes more models than those that tests have. */
  writeMore?: (dir: string) => Promise<unknown>;
  /** Puts the proxy between; without it nothing passes there. */
  isProxied?: boolean;
}

export async function startFaultPlatform(options: FaultPlatformOptions = {}): Promise<FaultPlatform> {
  const {
    models: names = ['linear', 'slow'],
    workerEnv,
    source,
    isProxied = false,
    redisOptions,
    writeMore,
    ...rest
  } = options;
  const models = await writeTestModels();
  await writeMore?.(models.dir);
  const sink = await WebhookSink.start();
  const redis = await startRedisServer(redisOptions);
  const proxy = await startRedisProxy(redis.port);
  let platform: Platform | undefined;
  const close = async () => {
    // Killed, not stopped: a worker that was killed in the middle leaves nothing worth draining.
    await platform?.kill();
    await proxy.close();
    await Promise.all([redis.stop(), sink.close(), models.remove()]);
  };
  try {
    platform = await startPlatformForTests({
      redis: { url: isProxied ? proxy.url : redis.url },
      modelsDir: models.dir,
      apis: 2,
      workers: 2,
      ...rest,
      env: { ...(source === undefined ? {} : { ONQUEUE_JOB_SOURCE: source }), ...rest.env },
      workerEnv: { ONQUEUE_MODELS: names.join(), ...workerEnv },
    });
    // An API believes for a moment what it knew before the workers came.
    const urls = platform.apis.flatMap(({ baseUrl }) => names.map((name) => `${baseUrl}/models/${name}`));
    for (const url of urls) await until(`${url} is known`, async () => (await request(url)).status === 200);
    return { platform, redis, proxy, sink, modelsDir: models.dir, close };
  } catch (error) {
    await close();
    throw error;
  }
}

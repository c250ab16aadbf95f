import {
  type Platform,
  type PlatformOptions,
  type RedisServer,
  type RedisServerOptions,
  startPlatform,
  startRedisServer,
} from '@onqueue/launcher';

/** A platform whose Redis is its own, unless the test names one. */
export type TestPlatform = Platform & { readonly redis: RedisServer };

/**
 * The platform as tests want it: quiet, deaf to the environment of whoever runs the tests, quick to notice a dead
 * worker, and with webhooks allowed to reach a receiver on this machine.
 */
export async function startTestPlatform(options: PlatformOptions & { redis?: 'private' } = {}): Promise<TestPlatform> {
  const platform = await startPlatformForTests(options);
  if (platform.redis === undefined) throw new Error('A test platform has a private Redis. This is a bug.');
  return platform as TestPlatform;
}

/** The same on whatever Redis the options name. */
export function startPlatformForTests(options: PlatformOptions): Promise<Platform> {
  return startPlatform({
    log: 'quiet',
    inheritEnv: false,
    ...options,
    env: { ...TEST_ENV, ...jobSource(), ...options.env },
  });
}

/** A Redis for one test file. */
export function startPrivateRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  return startRedisServer(options);
}

/** `ONQUEUE_JOB_SOURCE=stock npm test` runs everything on the stock worker. */
function jobSource(): Record<string, string> {
  const { ONQUEUE_JOB_SOURCE: source } = process.env;
  return source ? { ONQUEUE_JOB_SOURCE: source } : {};
}

const TEST_ENV = {
  // Batches of a known size, on however busy a machine; what is about calibration turns it on.
  ONQUEUE_CALIBRATION_BUDGET_MS: '0',
  ONQUEUE_LOCK_DURATION_MS: '2000',
  ONQUEUE_STALLED_INTERVAL_MS: '1000',
  ONQUEUE_WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8',
  ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
};

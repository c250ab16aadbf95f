import type { PlatformOptions } from '@onqueue/launcher';
import { request } from '../../support/client.ts';
import { writeTestModels } from '../../support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from '../../support/platform.ts';
import { until } from '../../support/until.ts';
import { WebhookSink } from './webhook-sink.ts';

/** The usual topology, two APIs and two workers on a Redis of their own, with a receiver for webhooks. */
export interface FaultPlatform {
  platform: TestPlatform;
  sink: WebhookSink;
  close(): Promise<void>;
}

export interface FaultPlatformOptions extends Omit<PlatformOptions, 'redis'> {
  /** Of those that tests have; each is one more process for each worker to start. */
  models?: readonly string[];
}

export async function startFaultPlatform(options: FaultPlatformOptions = {}): Promise<FaultPlatform> {
  const { models: names = ['linear', 'slow'], workerEnv, ...rest } = options;
  const models = await writeTestModels();
  const sink = await WebhookSink.start();
  let platform: TestPlatform | undefined;
  const close = async () => {
    // Killed, not stopped: a worker that was killed in the middle leaves nothing worth draining.
    await platform?.kill();
    await Promise.all([sink.close(), models.remove()]);
  };
  try {
    platform = await startTestPlatform({
      modelsDir: models.dir,
      apis: 2,
      workers: 2,
      ...rest,
      workerEnv: { ONQUEUE_MODELS: names.join(), ...workerEnv },
    });
    // An API believes for a moment what it knew before the workers came.
    const urls = platform.apis.flatMap(({ baseUrl }) => names.map((name) => `${baseUrl}/models/${name}`));
    for (const url of urls) await until(`${url} is known`, async () => (await request(url)).status === 200);
    return { platform, sink, close };
  } catch (error) {
    await close();
    throw error;
  }
}

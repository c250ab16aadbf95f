import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ChildService } from '@onqueue/launcher';
import { type Answer, endedJob, type JobBody, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir, apis: 2, workers: 2 });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const CLIENTS = 8;

const alive = (services: readonly ChildService[]) => services.filter(({ hasExited }) => !hasExited);

/** As a load balancer does it: a connection that is refused or cut goes to the next API. */
async function anywhere<T>(ask: (baseUrl: string) => Promise<T>): Promise<T> {
  for (;;) {
    for (const { baseUrl } of alive(platform.apis)) {
      try {
        return await ask(baseUrl);
      } catch (error) {
        // What fetch throws when there is no connection; jest's realm has another TypeError.
        if ((error as Error).name !== 'TypeError') throw error;
      }
    }
  }
}

test('every process is replaced under load: no request fails, no job is lost, none stalls', async () => {
  let isDeploying = true;
  const refused: Answer<JobBody>[] = [];
  const ended: { x0: number; job: JobBody }[] = [];
  // One job after the other, of several clients: enough that something is always under way.
  const client = async (from: number) => {
    for (let x0 = from; isDeploying; x0 += CLIENTS) {
      const answer = await anywhere((baseUrl) => postJob(baseUrl, { model: 'linear', input: { x0, x1: 0, x2: 0 } }));
      if (answer.status === 202)
        ended.push({ x0, job: await anywhere((baseUrl) => endedJob(baseUrl, answer.body.id)) });
      else refused.push(answer);
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, n) => client(n));

  for (const worker of [...platform.workers]) {
    await platform.startWorker();
    expect(await worker.stop()).toMatchObject({ code: 0 });
  }
  for (const api of [...platform.apis]) {
    await platform.startApi();
    expect(await api.stop()).toMatchObject({ code: 0 });
  }
  isDeploying = false;
  await Promise.all(clients);

  expect(refused).toEqual([]);
  expect(ended.length).toBeGreaterThan(100);
  expect(ended.map(({ job }) => [job.status, job.results?.[0]?.output?.score])).toEqual(
    ended.map(({ x0 }) => ['succeeded', x0]),
  );
  // A second attempt would say that a worker left something behind.
  expect(ended.filter(({ job }) => job.attempt !== 1)).toEqual([]);
  const { body } = await anywhere((baseUrl) => request<string>(`${baseUrl}/metrics`));
  expect(body).toMatch(/^onqueue_queue_depth_jobs\{model="linear"\} 0$/m);
});

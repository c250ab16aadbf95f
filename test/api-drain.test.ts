import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { endedJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** An API is taken away under clients that keep their connections, and none of them notices. */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const CLIENTS = 8;
const BODY = JSON.stringify({ model: 'linear', input: { x0: 1, x1: 2, x2: 3 } });
const LEAVING = { ONQUEUE_API_DRAIN_DELAY_MS: '3000' };

interface Posted {
  status: number | undefined;
  id: string;
  isLast: boolean;
}

/** One connection, over which it posts. */
function keepAliveClient(baseUrl: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const post = async (): Promise<Posted> => {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      httpRequest(`${baseUrl}/jobs`, { method: 'POST', headers, agent }, resolve).on('error', reject).end(BODY);
    });
    const { id } = JSON.parse((await response.toArray()).join(''));
    return { status: response.statusCode, id, isLast: response.headers.connection === 'close' };
  };
  return { post, close: () => agent.destroy() };
}

test('clients that post over kept connections are told to leave, and no request is cut off', async () => {
  const leaver = await platform.startApi(LEAVING);
  const accepted: string[] = [];
  let told = 0;
  const clients = Array.from({ length: CLIENTS }, async () => {
    // To the next one once it is told, as its load balancer would have it.
    for (const baseUrl of [leaver.baseUrl, platform.baseUrl]) {
      const client = keepAliveClient(baseUrl);
      for (let left = 3; left > 0; ) {
        const { status, id, isLast } = await client.post();
        expect(status).toBe(202);
        accepted.push(id);
        if (isLast) {
          told += 1;
          break;
        }
        if (baseUrl === platform.baseUrl) left -= 1;
      }
      client.close();
    }
  });
  const all = Promise.all(clients);
  await until('all of them post', async () => accepted.length > 3 * CLIENTS);
  const stopped = leaver.stop();
  await all;
  expect(await stopped).toMatchObject({ code: 0 });
  expect(told).toBe(CLIENTS);
  expect(new Set(accepted).size).toBe(accepted.length);
  const jobs = await Promise.all(accepted.map((id) => endedJob(platform.baseUrl, id)));
  expect(new Set(jobs.map(({ status }) => status))).toEqual(new Set(['succeeded']));
});

test('while it leaves, it serves who comes, with /readyz red', async () => {
  const leaver = await platform.startApi(LEAVING);
  const stopped = leaver.stop();
  const red = await until('it is red', async () => {
    const answer = await request(`${leaver.baseUrl}/readyz`);
    return answer.status === 503 && answer;
  });
  expect(red.body).toMatchObject({ status: 'draining' });
  expect(red.headers.get('connection')).toBe('close');
  const client = keepAliveClient(leaver.baseUrl);
  expect(await client.post()).toMatchObject({ status: 202, isLast: true });
  client.close();
  expect(await stopped).toMatchObject({ code: 0 });
  await expect(request(`${leaver.baseUrl}/livez`)).rejects.toThrow();
});

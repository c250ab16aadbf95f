import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface FixtureService {
  /** A folder for the test, with the script in it. */
  folder: string;
  entry: string;
  remove(): Promise<void>;
}

/**
 * A small process in the place of the API or the worker: 503 at the first `/readyz`, then 200. The variable FIXTURE
 * says how it misbehaves: `dies`, `refuses` (with a fatal log line), `deaf` (to SIGTERM), `never ready`, `waits` (for a
 * Redis that `GET /come` brings). `GET /env` tells its environment, `GET /die` ends it.
 */
export async function writeFixtureService(): Promise<FixtureService> {
  const folder = await mkdtemp(join(tmpdir(), 'onqueue-fixture-'));
  const entry = join(folder, 'fixture.mjs');
  await writeFile(entry, SOURCE);
  return { folder, entry, remove: () => rm(folder, { recursive: true, force: true }) };
}

const SOURCE = `
import { createServer } from 'node:http';
const { FIXTURE, ONQUEUE_PORT, ONQUEUE_WORKER_PORT } = process.env;
const isWorker = process.env.ONQUEUE_MODELS_DIR !== undefined;
if (FIXTURE === 'dies') {
  console.log('first words');
  console.error('the model is missing');
  process.exit(3);
}
if (FIXTURE === 'refuses') {
  console.log(JSON.stringify({ level: 30, msg: 'starts' }));
  console.log(JSON.stringify({ level: 60, msg: 'Redis may evict jobs: set noeviction.' }));
  process.exit(1);
}
process.on('SIGTERM', () => {
  if (FIXTURE === 'deaf') return;
  console.log('draining');
  process.exit(0);
});
let asked = 0;
let isRedisAway = FIXTURE === 'waits';
createServer(({ url }, response) => {
  if (url === '/die') process.exit(7);
  if (url === '/env') return response.end(JSON.stringify(process.env));
  if (url === '/come') isRedisAway = false;
  if (isRedisAway) return response.writeHead(503).end('{"redis":"reconnecting"}');
  const isReady = url === '/readyz' && FIXTURE !== 'never ready' && ++asked > 1;
  response.writeHead(isReady ? 200 : 503).end();
}).listen(Number(isWorker ? ONQUEUE_WORKER_PORT : ONQUEUE_PORT), '127.0.0.1', () => console.log('listening'));
`;

import { setTimeout as delay } from 'node:timers/promises';
import { startPlatform } from '@onqueue/launcher';
import { closeRedis, connectRedis, RedisKeys } from '@onqueue/shared/redis';
import { type Bench, type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { forkBenchChild } from '../bench-child.ts';
import { NoiseControl } from '../control/noise-control.ts';
import { JobClient } from '../job-client.ts';
import { type LoadReport, loadReport } from '../load-generator/load-protocol.ts';
import { mlpRow, writeMlpModel } from '../models/mlp-model.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';

const MODEL = 'mlp';
const KEY_PREFIX = 'bench';
const BULK_SLICE_MS = 25;
const INTERACTIVE_PER_S = 50;
const SECONDS = 12;
/** Of every measurement, while the first batches are formed. */
const LEAD_MS = 1000;
const ROWS_PER_CHUNK = 64;
const TIMEOUT_MS = 30_000;
const POSTS_IN_FLIGHT = 16;
/** Fills the lane while nothing is known of its rate. */
const FIRST_ROWS = 20_000;
/** More than is scored in the time: what is left is waited for. */
const RESERVE = 1.3;

/** What a full bulk lane costs interactive requests, and what it gets of the time that they leave. */
export const backfillBench: Bench = {
  name: 'backfill',
  summary: `${INTERACTIVE_PER_S} interactive requests/s of an MLP alone, a full bulk lane alone, and both together on one runner`,
  figures: {
    added_over_bound: `interactive p99 that the bulk lane adds / (2 x bulk_slice_ms + 5 ms), with bulk_slice_ms ${BULK_SLICE_MS}`,
    bulk_share: 'bulk rows/s beside interactive / (bulk rows/s alone - interactive rows/s)',
    alone_p99_ms: 'interactive, from the intended time of the request to its result',
    beside_p99_ms: 'the same beside the full bulk lane',
    bulk_alone_rows_per_s: '',
    bulk_beside_rows_per_s: '',
    errors: 'interactive requests without a result',
  },
  async prepare(context) {
    const lanes = await startLanes(context);
    // Also finds how many rows fill the lane for as long as is measured.
    await lanes.fill(FIRST_ROWS);
    let rowsPerS = await lanes.bulkRate(2);
    await lanes.empty();
    await lanes.interactive(0);
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const alone = await lanes.interactive(round);
      await lanes.fill(rowsPerS * SECONDS * RESERVE);
      const bulkAlone = await lanes.bulkRate(SECONDS - 2);
      await lanes.empty();
      rowsPerS = bulkAlone;
      await lanes.fill(rowsPerS * SECONDS * RESERVE);
      const [beside, bulkBeside] = await Promise.all([
        lanes.interactive(round),
        lanes.bulkRate(SECONDS - 2, INTERACTIVE_PER_S),
      ]);
      await lanes.empty();
      return { figures: figuresOf({ alone, beside, bulkAlone, bulkBeside }), noise: control.end() };
    };
  },
};

async function startLanes({ cleanup, signal, progress }: BenchContext) {
  const dir = await temporaryModelsDir(cleanup);
  await writeMlpModel({ dir, name: MODEL }, { max_batch_size: 64, calibrate: true, bulk_slice_ms: BULK_SLICE_MS });
  progress('the model is written');
  const platform = await startPlatform({
    modelsDir: dir,
    inheritEnv: false,
    env: {
      ONQUEUE_KEY_PREFIX: KEY_PREFIX,
      ONQUEUE_PARTITIONS: '1',
      ONQUEUE_LOG_LEVEL: 'warn',
      ONQUEUE_CACHE_DIR: dir,
      ONQUEUE_BACKLOG_MAX_ROWS: '1000000',
    },
    signal,
  });
  cleanup.add(() => platform.stop());
  const redis = connectRedis({ url: platform.redisUrl, isCluster: false }, { kind: 'worker' }, () => undefined);
  cleanup.add(() => closeRedis(redis));
  const backlogKey = new RedisKeys(KEY_PREFIX).backlog(0, MODEL);
  const field = async (name: string) => Number((await redis.hget(backlogKey, name)) ?? 0);
  const generator = forkBenchChild(new URL('../load-generator/load-generator-main.js', import.meta.url), cleanup);
  const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: POSTS_IN_FLIGHT, timeoutMs: TIMEOUT_MS });
  cleanup.add(async () => client.close());
  const bodies = Array.from({ length: 50 }, (_, row) => JSON.stringify({ model: MODEL, input: mlpRow(row) }));
  const inputs = Array.from({ length: ROWS_PER_CHUNK }, (_, row) => mlpRow(row));
  const chunk = JSON.stringify({ model: MODEL, lane: 'bulk', inputs });

  return {
    /** Posts chunks of about so many rows. */
    async fill(rows: number): Promise<void> {
      let left = Math.ceil(rows / ROWS_PER_CHUNK);
      const post = async () => {
        while (left-- > 0) await client.post(chunk);
      };
      await Promise.all(Array.from({ length: POSTS_IN_FLIGHT }, post));
    },
    /** Bulk rows/s, where so many interactive ones/s end meanwhile. */
    async bulkRate(seconds: number, interactivePerS = 0): Promise<number> {
      await delay(LEAD_MS);
      const [rows, startedAt] = [await field('finished_rows'), performance.now()];
      await delay(seconds * 1000);
      const perS = ((await field('finished_rows')) - rows) / ((performance.now() - startedAt) / 1000);
      if ((await field('rows')) < ROWS_PER_CHUNK) throw new MeasurementError('The bulk lane ran empty.');
      return perS - interactivePerS;
    },
    async empty(): Promise<void> {
      while ((await field('rows')) > 0) await delay(50);
    },
    interactive(seed: number): Promise<LoadReport> {
      const order = { baseUrl: platform.baseUrl, ratePerS: INTERACTIVE_PER_S, count: INTERACTIVE_PER_S * SECONDS };
      const limits = { maxInFlight: 512, timeoutMs: TIMEOUT_MS };
      return generator.ask({ ...order, ...limits, seed, bodies, isHeld: true }, loadReport, SECONDS * 2000 + 60_000);
    },
  };
}

interface Measured {
  alone: LoadReport;
  beside: LoadReport;
  bulkAlone: number;
  bulkBeside: number;
}

function figuresOf({ alone, beside, bulkAlone, bulkBeside }: Measured): Figures {
  return {
    added_over_bound: (beside.latencyMs.p99 - alone.latencyMs.p99) / (2 * BULK_SLICE_MS + 5),
    bulk_share: bulkBeside / (bulkAlone - INTERACTIVE_PER_S),
    alone_p99_ms: alone.latencyMs.p99,
    beside_p99_ms: beside.latencyMs.p99,
    bulk_alone_rows_per_s: bulkAlone,
    bulk_beside_rows_per_s: bulkBeside,
    errors: alone.errors + beside.errors,
  };
}

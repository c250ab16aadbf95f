import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChildService, type Platform, startPlatform } from '@onqueue/launcher';
import type { Timings } from '@onqueue/shared';
import { type Bench, type BenchContext, type Figures, MeasurementError } from '../bench.ts';
import { NoiseControl } from '../control/noise-control.ts';
import { JobClient, jobOf } from '../job-client.ts';
import { temporaryModelsDir } from '../models/temporary-models-dir.ts';
import { AS_DECLARED } from '../workload.ts';
import { goldenInputs, type ShippedVersion, shippedVersions } from './shipped-versions.ts';

const VERSIONS = shippedVersions();
const KINDS = [...new Set(VERSIONS.map(({ manifest }) => manifest.kind))];
/** Jobs of one row, one after the other, from which the shares of the phases are taken. */
const JOBS = 100;
const TIMEOUT_MS = 60_000;

/** How long the first result of a worker takes, what loading and warming up have in it, and what the way of a row costs. */
export const coldstartBench: Bench = {
  name: 'coldstart',
  summary: `a worker is started for a job that waits, once for each of the ${VERSIONS.length} shipped versions; then ${JOBS} jobs of one row`,
  figures: {
    first_result_ms: 'from the fork of the worker to the result at the client, the slowest version',
    ...Object.fromEntries(
      VERSIONS.flatMap(({ label }) => [
        [`${label}_first_result_ms`, ''],
        [`${label}_load_ms`, 'of it: checksum, session, manifest'],
        [`${label}_warmup_ms`, 'of it: the golden rows'],
      ]),
    ),
    ...Object.fromEntries(
      KINDS.map((kind) => [`${kind}_pre_post_ratio`, 'preprocess + postprocess / inference, as the jobs tell it']),
    ),
  },
  async prepare(context) {
    const platform = await startPlatform({
      inheritEnv: false,
      env: { ONQUEUE_LOG_LEVEL: 'warn', ...AS_DECLARED },
      signal: context.signal,
    });
    context.cleanup.add(() => platform.stop());
    // It has published what the API has to know of the models.
    await platform.workers[0]?.stop();
    const client = new JobClient({ baseUrl: platform.baseUrl, maxSockets: 2, timeoutMs: TIMEOUT_MS });
    context.cleanup.add(async () => client.close());
    const alone = await Promise.all(VERSIONS.map((version) => repositoryOf(version, context)));
    const control = new NoiseControl();
    return async () => {
      control.begin();
      const figures: Figures = { first_result_ms: 0 };
      for (const [index, version] of VERSIONS.entries()) {
        const found = await measureVersion(version, { platform, client, modelsDir: alone[index] ?? '' });
        Object.assign(figures, found);
        figures.first_result_ms = Math.max(
          figures.first_result_ms ?? 0,
          found[`${version.label}_first_result_ms`] ?? 0,
        );
      }
      return { figures, noise: control.end() };
    };
  },
};

/** A repository with nothing else in it, so that no other version loads meanwhile. */
async function repositoryOf({ folder, manifest }: ShippedVersion, { cleanup }: BenchContext): Promise<string> {
  const dir = await temporaryModelsDir(cleanup);
  await mkdir(join(dir, manifest.name));
  await symlink(folder, join(dir, manifest.name, manifest.version));
  return dir;
}

interface Parts {
  platform: Platform;
  client: JobClient;
  modelsDir: string;
}

async function measureVersion(version: ShippedVersion, { platform, client, modelsDir }: Parts): Promise<Figures> {
  const { label, manifest } = version;
  const inputs = goldenInputs(version);
  const bodyOf = (index: number) =>
    JSON.stringify({ model: manifest.name, version: manifest.version, input: inputs[index % inputs.length] });
  const id = await client.post(bodyOf(0));
  const startedAt = performance.now();
  const starting = platform.startWorker({ ONQUEUE_MODELS_DIR: modelsDir });
  const first = client.result(id).then((text) => ({ text, ms: performance.now() - startedAt }));
  const [worker, { text, ms }] = await Promise.all([starting, first]);
  try {
    jobOf(text);
    const times: Timings[] = [];
    for (let index = 0; index < JOBS; index++) {
      const { timings } = jobOf(await client.result(await client.post(bodyOf(index))));
      if (timings) times.push(timings);
    }
    return {
      [`${label}_first_result_ms`]: ms,
      ...(await startPhases(worker, label)),
      [`${manifest.kind}_pre_post_ratio`]: prePostRatio(times),
    };
  } finally {
    await worker.stop();
  }
}

/** As the worker exports it. */
async function startPhases(worker: ChildService, label: string): Promise<Figures> {
  const metrics = await (await fetch(`${worker.baseUrl}/metrics`)).text();
  const ms = (phase: string) => {
    const value = new RegExp(`^onqueue_runner_start_seconds\\{.*phase="${phase}".*\\} (\\S+)$`, 'm').exec(metrics)?.[1];
    if (value === undefined) throw new MeasurementError(`The worker does not say how long the phase ${phase} took.`);
    return Number(value) * 1000;
  };
  return { [`${label}_load_ms`]: ms('load'), [`${label}_warmup_ms`]: ms('warmup') };
}

function prePostRatio(times: readonly Timings[]): number {
  const sum = (phase: 'preprocess_ms' | 'inference_ms' | 'postprocess_ms') =>
    times.reduce((total, timings) => total + timings[phase], 0);
  return (sum('preprocess_ms') + sum('postprocess_ms')) / sum('inference_ms');
}

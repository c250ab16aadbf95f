import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { type ModelManifest, modelManifest } from '@onqueue/shared';
import { type OnnxModel, readOnnxModel } from '../../apps/worker/src/onnx/onnx-model.ts';
import { RunnerStartError } from '../../apps/worker/src/runner/runner-errors.ts';
import { RunnerProcess } from '../../apps/worker/src/runner/runner-process.ts';
import { writeLoopModel } from '../support/models/tiny-models.ts';
import { faultSeed, sized } from './support/fault-size.ts';
import { type LoadOutcome, ModelLoader } from './support/model-loader.ts';
import { ModelMutator } from './support/model-mutations.ts';
import { SeededRandom } from './support/seeded-random.ts';

const FILES = sized({ small: 60, full: 2500 });
const TIMEOUT_MS = sized({ small: 180_000, full: 3_600_000 });
/** Whole, any of the models loads in a tenth of a second and a hundred megabytes. */
const LIMITS = { deadlineMs: 10_000, memoryBytes: 1024 ** 3 };
/** Each such one is also loaded by a supervisor, in a process of its own. */
const EVERY = sized({ small: 30, full: 100 });

let dir: string;
const folders = new Map<string, { folder: string; manifest: ModelManifest }>();
let loader: ModelLoader;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-mutants-'));
  await writeLoopModel({ dir, name: 'loop', version: '1' });
  const loop = join(dir, 'loop', '1');
  for (const folder of [join(repoRoot, 'models/fraud/1'), join(repoRoot, 'models/digits/1'), loop]) {
    const manifest = modelManifest.parse(JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')));
    await take(manifest.name, { folder, manifest });
  }
  // The same as the engine saves it; no other tool writes its format.
  await copyFile(join(repoRoot, 'test/fixtures/loop.ort'), join(loop, 'model.ort'));
  const bytes = await readFile(join(loop, 'model.ort'));
  const { manifest } = folders.get('loop') ?? {};
  if (manifest) await take('loop.ort', { folder: loop, manifest: withArtifact(manifest, 'model.ort', bytes) });
  loader = new ModelLoader(LIMITS);
});

async function take(name: string, model: { folder: string; manifest: ModelManifest }): Promise<void> {
  folders.set(name, model);
  await copyFile(join(model.folder, model.manifest.golden?.file ?? 'golden.jsonl'), join(dir, `${name}.jsonl`));
}

afterAll(async () => {
  await loader?.close();
  await rm(dir, { recursive: true, force: true });
});

test(
  'mutated models are read or refused, end their own runner at the worst, and never whoever supervises it',
  async () => {
    const random = new SeededRandom(faultSeed());
    process.stdout.write(`mutated models: FAULT_SEED=${random.seed}\n`);
    const models = await Promise.all(
      [...folders].map(async ([name, { folder, manifest }]) => ({
        name,
        format: name.endsWith('.ort') ? ('ort' as const) : ('onnx' as const),
        bytes: await readFile(join(folder, manifest.artifact.file)),
      })),
    );
    const mutator = new ModelMutator({ random, models });
    const ends: Record<string, number> = {};
    for (let index = 0; index < FILES; index++) {
      const { model, mutation, bytes } = mutator.next();
      const file = `mutant-${index}.${model.format}`;
      await writeFile(join(dir, file), bytes);
      const manifest = manifestOf(model.name, file, bytes);
      const read = model.format === 'onnx' ? await tryToRead(join(dir, file)) : undefined;
      const outcome = await loader.load({ folder: dir, manifest });
      const told = { index, mutation, of: model.name, ...outcome };
      ends[outcome.end] = (ends[outcome.end] ?? 0) + 1;

      if (read instanceof Error) expect({ ...told, read: read.name }).toMatchObject({ read: 'ModelFileError' });
      else if (read) expectToSeeTheSame(read, told);
      const isDeadly = outcome.end.startsWith('killed') || outcome.end.startsWith('crashed');
      if (isDeadly)
        process.stdout.write(`mutant ${index}, ${mutation} of ${model.name}: ${outcome.end} (${outcome.detail})\n`);
      if (isDeadly || index % EVERY === 0) await loadAsSupervisor(manifest, outcome);
      await rm(join(dir, file));
    }
    process.stdout.write(`${FILES} mutated models: ${JSON.stringify(ends)}\n`);
    // All of them at one place would say that the rest of the way was never gone.
    expect(ends).toMatchObject({ loaded: expect.any(Number), 'refused by the engine': expect.any(Number) });
    const whole = await Promise.all([...folders.values()].map(({ folder, manifest }) => start({ folder, manifest })));
    await Promise.all(whole.map((runner) => runner.stop()));
  },
  TIMEOUT_MS,
);

function manifestOf(name: string, file: string, bytes: Buffer): ModelManifest {
  const known = folders.get(name);
  if (!known) throw new Error(`There is no model ${name}. This is a bug.`);
  const { tolerance = 1e-4 } = known.manifest.golden ?? {};
  return { ...withArtifact(known.manifest, file, bytes), golden: { tolerance, file: `${name}.jsonl` } };
}

function withArtifact(manifest: ModelManifest, file: string, bytes: Buffer): ModelManifest {
  return { ...manifest, artifact: { file, sha256: createHash('sha256').update(bytes).digest('hex') } };
}

function tryToRead(path: string): Promise<OnnxModel | Error> {
  return readOnnxModel(path).catch((error: Error) => error);
}

/** What was checked has to be what runs: the engine must find no other inputs and outputs in the file than we do. */
function expectToSeeTheSame(read: OnnxModel, told: LoadOutcome & { index: number }): void {
  if (!told.names) return;
  const ours = { inputs: read.inputs.map(({ name }) => name), outputs: read.outputs.map(({ name }) => name) };
  expect({ ...told, names: ours }).toEqual(told);
}

async function loadAsSupervisor(manifest: ModelManifest, { end }: LoadOutcome): Promise<void> {
  const started = await start({ folder: dir, manifest }).catch((error: Error) => error);
  if (!(started instanceof RunnerProcess)) {
    expect(started).toBeInstanceOf(RunnerStartError);
    return;
  }
  // One that takes about as long as it may is a matter of luck.
  expect(['loaded', 'killed at the deadline']).toContain(end);
  await started.stop();
}

function start(model: { folder: string; manifest: ModelManifest }): Promise<RunnerProcess> {
  return RunnerProcess.start({
    ...model,
    intraOpNumThreads: 1,
    startTimeoutMs: LIMITS.deadlineMs,
    memoryLimitBytes: LIMITS.memoryBytes,
    env: { PATH: process.env.PATH },
  });
}

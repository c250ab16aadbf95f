import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ExecutionProvider } from '@onqueue/shared';
import { writeLinearModel } from '../../../../test/support/models/tiny-models.ts';
import type { ExecutionPlan } from './execution-plan.ts';
import type { EngineSession, LoadOptions, Placement } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { openSession } from './open-session.ts';
import { ortEngine } from './ort-engine.ts';

/** A provider that ONNX Runtime has on no machine of this kind. */
const FOREIGN: ExecutionProvider = process.platform === 'win32' ? 'coreml' : 'dml';

let dir: string;
let path: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-providers-'));
  const { folder, manifest } = await writeLinearModel({ dir, name: 'linear', version: '1' });
  path = join(folder, manifest.artifact.file);
});
afterAll(() => rm(dir, { recursive: true }));

const open = (execution: ExecutionPlan, file = path) =>
  openSession({ engine: ortEngine, path: file, intraOpNumThreads: 1, execution });

/** An engine on a machine with a GPU, that says what it was asked for and which provider computed what. */
function engineWith(placement: Placement | undefined) {
  const loads: LoadOptions[] = [];
  const session = { placement: async () => placement } as EngineSession;
  const load = async (_: string, options: LoadOptions) => {
    loads.push(options);
    return session;
  };
  return { engine: { load }, loads };
}

test('computes on the cpu where nothing else was asked for', async () => {
  const { session, whatComputed } = await open({ providers: ['cpu'], fallback: 'none' });
  expect(await whatComputed()).toEqual({ execution_provider: 'cpu' });
  await session.release();
});

test('a provider that is not there is refused, with what it needs and how to do without', async () => {
  const opening = open({ providers: [FOREIGN], fallback: 'none' });
  await expect(opening).rejects.toThrow(ModelLoadError);
  await expect(opening).rejects.toThrow(
    new RegExp(
      `^The execution provider ${FOREIGN} cannot be used here: .*${FOREIGN}: it is in the package on .*gpu.md`,
    ),
  );
  await expect(opening).rejects.toThrow('ONQUEUE_EXECUTION_PROVIDER_FALLBACK=cpu');
});

test('where that is asked for the cpu takes its place, and says why', async () => {
  const { session, whatComputed } = await open({ providers: [FOREIGN, 'cpu'], fallback: 'cpu' });
  expect(await whatComputed()).toEqual({
    execution_provider: 'cpu',
    fallback_reason: expect.stringContaining(`The execution provider ${FOREIGN} cannot be used here`),
  });
  await session.release();
});

test.each(['none', 'cpu'] as const)('a broken graph is not blamed on the provider (fallback %s)', async (fallback) => {
  const broken = join(dir, 'broken.onnx');
  await writeFile(broken, 'not a graph');
  await expect(open({ providers: [FOREIGN], fallback }, broken)).rejects.toThrow(/protobuf parsing failed/i);
});

test('leaves nothing in the working directory when it cannot open', async () => {
  const before = await readdir(process.cwd());
  await expect(open({ providers: [FOREIGN], fallback: 'none' })).rejects.toThrow();
  expect(await readdir(process.cwd())).toEqual(before);
});

test('asks for the device of the plan', async () => {
  const { engine, loads } = engineWith({ cuda: 9 });
  const execution: ExecutionPlan = { providers: ['cuda'], fallback: 'none', deviceId: 1 };
  await openSession({ engine, path, intraOpNumThreads: 2, execution });
  expect(loads).toEqual([{ intraOpNumThreads: 2, executionProviders: ['cuda'], deviceId: 1 }]);
});

test.each<[string, Placement, ExecutionProvider]>([
  ['the first that was asked for and computed anything', { cpu: 3, cuda: 9 }, 'cuda'],
  ['the cpu, when nothing was given to any of them', { cpu: 12 }, 'cpu'],
])('names as what computed %s', async (_, placement, used) => {
  const { engine } = engineWith(placement);
  const execution: ExecutionPlan = { providers: ['tensorrt', 'cuda'], fallback: 'none' };
  const { whatComputed } = await openSession({ engine, path, intraOpNumThreads: 1, execution });
  expect(await whatComputed()).toEqual({ execution_provider: used, placement });
});

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { decisionPolicySha256, type ModelManifest, modelManifest, preprocessSha256 } from '@onqueue/shared';
import { runJob } from './support/client.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

const MODELS = join(repoRoot, 'models');
const versions = readdirSync(MODELS).flatMap((name) =>
  readdirSync(join(MODELS, name)).map((version) => ({ name, version, folder: join(MODELS, name, version) })),
);

interface GoldenRow {
  input: Record<string, unknown>;
  output: Record<string, unknown>;
}

function goldenRows(folder: string, manifest: ModelManifest): GoldenRow[] {
  return readFileSync(join(folder, manifest.golden?.file ?? ''), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform();
});

afterAll(() => platform?.stop());

test('the repository ships fraud, digits and language', () => {
  expect(versions.map(({ name, version }) => `${name}/${version}`)).toEqual(
    expect.arrayContaining(['digits/1', 'fraud/1', 'fraud/2', 'language/1']),
  );
});

describe.each(versions)('$name $version', ({ name, version, folder }) => {
  const manifest = modelManifest.parse(JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')));
  const golden = goldenRows(folder, manifest);

  test('answers its golden rows as trained, through the whole platform, all in one job', async () => {
    const job = await runJob(platform.baseUrl, { model: name, version, inputs: golden.map(({ input }) => input) });
    expect(job.status).toBe('succeeded');
    const outputs = job.results?.map(({ output }) => output) ?? [];
    for (const [row, { output }] of golden.entries()) {
      expect({ row, ...outputs[row] }).toEqual({ row, ...within(output, manifest.golden?.tolerance ?? 0) });
    }
  });

  test('answers the example of its manifest', async () => {
    expect(await runJob(platform.baseUrl, { model: name, version, input: manifest.example })).toMatchObject({
      status: 'succeeded',
    });
  });

  test('says which artifact, preprocessing and decision policy made a result', async () => {
    const { provenance } = await runJob(platform.baseUrl, { model: name, version, input: manifest.example });
    expect(provenance).toMatchObject({
      model: name,
      version,
      artifact_sha256: manifest.artifact.sha256,
      preprocess_sha256: preprocessSha256(manifest),
      decision_policy_sha256: decisionPolicySha256(manifest),
    });
  });

  test('has a card, a baseline and a training script', () => {
    for (const file of ['CARD.md', 'baseline.json', 'train/train.py', 'train/requirements.txt']) {
      expect(readFileSync(join(folder, file), 'utf8').length).toBeGreaterThan(0);
    }
    expect(JSON.parse(readFileSync(join(folder, 'baseline.json'), 'utf8'))).toMatchObject({
      inputs: expect.any(Object),
      scores: expect.any(Object),
    });
  });
});

describe.each(['1', '2'])('fraud %s decisions', (version) => {
  test('are block above 0.82, step_up from 0.60, else allow, in every golden row', () => {
    const folder = join(MODELS, 'fraud', version);
    const manifest = modelManifest.parse(JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')));
    const decisions = goldenRows(folder, manifest).map(({ output }) => {
      const probability = Number(output.probability);
      expect(output.decision).toBe(probability > 0.82 ? 'block' : probability >= 0.6 ? 'step_up' : 'allow');
      return output.decision;
    });
    expect(new Set(decisions)).toEqual(new Set(['block', 'step_up', 'allow']));
  });
});

test('fraud 2 takes the rows of fraud 1 and decides by the same bands, so that a rollout can compare them', () => {
  const [first, second] = ['1', '2'].map((version) =>
    modelManifest.parse(JSON.parse(readFileSync(join(MODELS, 'fraud', version, 'model.json'), 'utf8'))),
  );
  for (const part of ['row', 'preprocess', 'inputs', 'example', 'postprocess', 'decision'] as const) {
    expect(second?.[part]).toEqual(first?.[part]);
  }
});

test('of fraud the newest version serves requests that pin none', async () => {
  const manifest = modelManifest.parse(JSON.parse(readFileSync(join(MODELS, 'fraud', '1', 'model.json'), 'utf8')));
  const { provenance } = await runJob(platform.baseUrl, { model: 'fraud', input: manifest.example });
  expect(provenance).toMatchObject({ version: '2' });
});

/** The same value with every number open by the tolerance. */
function within(value: unknown, tolerance: number): Record<string, unknown> {
  const open = (member: unknown): unknown => {
    if (typeof member === 'number') return expect.closeTo(member, -Math.log10(2 * tolerance));
    if (typeof member === 'object' && member !== null) {
      return Object.fromEntries(Object.entries(member).map(([key, inner]) => [key, open(inner)]));
    }
    return member;
  };
  return open(value) as Record<string, unknown>;
}

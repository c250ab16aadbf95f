import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { postJob, request, runJob } from './support/client.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** Folders as Hugging Face Optimum wrote them, and what transformers answers. */
const fixtures = fileURLToPath(new URL('./fixtures/hugging-face', import.meta.url));

let root: string;
let platform: TestPlatform;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-text-'));
  await cp(join(fixtures, 'classifier'), join(root, 'mood', '1'), { recursive: true });
  await cp(join(fixtures, 'encoder'), join(root, 'sentences', '1'), { recursive: true });
  await cp(join(fixtures, 'classifier'), join(root, 'tags', '1'), { recursive: true });
  const config = join(root, 'tags', '1', 'config.json');
  const settings = JSON.parse(await readFile(config, 'utf8'));
  await writeFile(config, JSON.stringify({ ...settings, problem_type: 'multi_label_classification' }));
  await cp(join(fixtures, 'encoder'), join(root, 'broken', '1'), { recursive: true });
  await writeFile(join(root, 'broken', '1', 'model.onnx'), 'no graph');
  platform = await startTestPlatform({ modelsDir: root });
});

afterAll(async () => {
  await platform?.stop();
  await rm(root, { recursive: true, force: true });
});

interface Expected<Output> {
  input: { text: string; text_pair?: string };
  output: Output;
}

async function expectedOf<Output>(name: string): Promise<Expected<Output>[]> {
  return JSON.parse(await readFile(join(fixtures, `${name}.expected.json`), 'utf8'));
}

test('an exported classifier answers as transformers does, with the labels of its config', async () => {
  const rows = await expectedOf<Record<string, number>>('classifier');
  const { results } = await runJob(platform.baseUrl, { model: 'mood', inputs: rows.map(({ input }) => input) });
  for (const [index, { input, output }] of rows.entries()) {
    const probabilities = Object.fromEntries(Object.entries(output).map(([name, p]) => [name, expect.closeTo(p, 4)]));
    expect({ input, ...results?.[index]?.output }).toMatchObject({ input, probabilities });
  }
});

test('an exported classifier of several labels at once answers all that reach 0.5', async () => {
  const rows = await expectedOf<Record<string, number>>('classifier');
  const { results } = await runJob(platform.baseUrl, { model: 'tags', inputs: rows.map(({ input }) => input) });
  const logit = (p = Number.NaN) => Math.log(p / (1 - p));
  const answers = results?.map(({ output }) => output as { labels: string[]; probabilities: Record<string, number> });
  const seen = new Set<number>();
  for (const [index, { output: softmax }] of rows.entries()) {
    const { labels = [], probabilities = {} } = answers?.[index] ?? {};
    const names = Object.keys(softmax);
    expect(labels.toSorted()).toEqual(names.filter((name) => (probabilities[name] ?? 0) >= 0.5).toSorted());
    // Whatever the activation, the logits are those of transformers: softmax keeps what they differ by.
    for (const name of names) {
      const [first = ''] = names;
      const difference = Math.log((softmax[name] ?? 0) / (softmax[first] ?? 0));
      expect(logit(probabilities[name]) - logit(probabilities[first])).toBeCloseTo(difference, 2);
    }
    seen.add(labels.length);
  }
  // One label a text would be what softmax gives.
  expect([...seen].some((count) => count !== 1)).toBe(true);
});

test('an export whose graph cannot be read is told, and hides no other', async () => {
  const { body } = await request(`${platform.baseUrl}/models/broken/versions`);
  const reason = expect.stringMatching(/^broken\/1\/model\.onnx: broken\/1\/model\.onnx is not a model/);
  expect(body).toMatchObject({ data: [{ state: 'incomplete', reason }] });
});

test('an exported encoder gives the mean of its states, padding left out', async () => {
  const rows = await expectedOf<number[]>('encoder');
  const { results } = await runJob(platform.baseUrl, { model: 'sentences', inputs: rows.map(({ input }) => input) });
  for (const [index, { input, output }] of rows.entries()) {
    const embedding = output.map((value) => expect.closeTo(value, 3));
    expect({ input, ...results?.[index]?.output }).toEqual({ input, embedding, dimensions: 16 });
  }
});

test('GET /models tells that nothing proves them', async () => {
  const { body } = await request(`${platform.baseUrl}/models/mood`);
  expect(body).toMatchObject({
    kind: 'text',
    versions: [{ version: '1', ready: true, golden: 'none' }],
    row_schema: { required: ['text'], properties: { text: { type: 'string', maxLength: 10_000 } } },
    postprocess: { labels: ['negative', 'neutral', 'positive'] },
  });
});

test('a row that is no text is refused at its place', async () => {
  const inputs = [{ text: 'fine' }, { text: '' }, { text: 'a'.repeat(10_001) }, { texts: 'a' }];
  const { status, body } = await postJob(platform.baseUrl, { model: 'mood', inputs });
  expect(status).toBe(400);
  const errors = ['/inputs/1/text', '/inputs/2/text', '/inputs/3/text'].map((pointer) =>
    expect.objectContaining({ pointer }),
  );
  expect(body).toMatchObject({ errors: expect.arrayContaining(errors) });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { postJob, request, runJob } from './support/client.ts';
import { writeDeclaredFile, writeDetectorModel, writeEchoModel } from './support/models/row-kind-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let dir: string;
let platform: TestPlatform;
const place = (name: string) => ({ dir, name, version: '1' });

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-row-kinds-'));
  await Promise.all([writeShop(), writePhoto(), writeWords(), writeTagger(), writeDetector()]);
  platform = await startTestPlatform({ modelsDir: dir, workerEnv: { ONQUEUE_BATCH_TIMEOUT_MS: '1500' } });
});

afterAll(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Refusal {
  code: string;
  errors: { pointer: string; detail: string }[];
}
const post = (model: string, inputs: unknown[]) => postJob<Refusal>(platform.baseUrl, { model, inputs });
const run = (model: string, inputs: unknown[]) => runJob(platform.baseUrl, { model, inputs, on_row_error: 'continue' });

async function outputsOf(model: string, inputs: unknown[]) {
  const { results } = await run(model, inputs);
  return results?.map(({ output, error }) => output ?? error) ?? [];
}

/** One matrix of several fields, as scikit-learn and XGBoost export it. */
function writeShop() {
  return writeEchoModel(place('shop'), {
    input: 'X',
    shape: [6],
    manifest: {
      kind: 'tabular',
      row: {
        fields: [
          { name: 'price', type: 'number', minimum: 0, fill: 'NaN' },
          { name: 'count', type: 'integer', default: 1 },
          { name: 'gift', type: 'boolean', default: false },
          { name: 'color', type: 'category', categories: ['red', 'blue'], encode: 'one_hot', unknown: -1 },
          { name: 'size', type: 'category', categories: ['s', 'm', 'l'], encode: 'index' },
        ],
      },
      preprocess: { type: 'pack', inputs: [{ input: 'X', fields: ['price', 'count', 'gift', 'color', 'size'] }] },
    },
    golden: [{ input: { price: 2.5, color: 'blue', size: 'm' }, output: { y: [2.5, 1, 0, 0, 1, 1] } }],
  });
}

describe('tabular rows', () => {
  test('are packed into one matrix, with null, missing fields and unknown categories as the manifest says', async () => {
    const rows = [
      { price: 1, count: 2, gift: true, color: 'red', size: 'l' },
      { price: null, color: 'mauve', size: 's' },
    ];
    expect(await outputsOf('shop', rows)).toEqual([{ y: [1, 2, 1, 1, 0, 2] }, { y: ['NaN', 1, 0, 0, 0, 0] }]);
  });

  test.each([
    ['an unknown category', { size: 'xl' }, '/inputs/1/size', 'expected one of "s"|"m"|"l"'],
    ['null without a meaning', { size: null }, '/inputs/1/size', 'expected one of'],
    ['a missing field without a default', { size: undefined }, '/inputs/1/size', 'this field is required'],
    ['a number out of range', { price: -1 }, '/inputs/1/price', 'expected number to be >=0'],
    ['a number for a boolean', { gift: 1 }, '/inputs/1/gift', 'expected boolean'],
    ['a field that is none', { colour: 'red' }, '/inputs/1/colour', 'unknown field'],
  ])('are refused with a pointer to row and field: %s', async (_, change, pointer, detail) => {
    const good = { price: 1, color: 'red', size: 's' };
    const { status, body } = await post('shop', [good, { ...good, ...change }]);
    expect([status, body.code]).toEqual([400, 'invalid_request']);
    expect(body.errors).toEqual([{ pointer, detail: expect.stringContaining(detail) }]);
  });

  test('are described as they are accepted', async () => {
    const { body } = await request(`${platform.baseUrl}/models/shop`);
    expect(body.row_schema).toMatchObject({
      required: ['price', 'color', 'size'],
      additionalProperties: false,
      properties: {
        price: { anyOf: [{ type: 'number', minimum: 0 }, { type: 'null' }] },
        count: { type: 'integer', default: 1 },
        gift: { type: 'boolean', default: false },
        color: { type: 'string' },
        size: { type: 'string', enum: ['s', 'm', 'l'] },
      },
    });
  });
});

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A PNG of 8-bit RGB pixels, as base64; frames make it an animation. */
function png(width: number, height: number, colorAt: (x: number, y: number) => number[], frames = 1): string {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const rows = Array.from({ length: height }, (_, y) => [
    0,
    ...Array.from({ length: width }, (_, x) => colorAt(x, y)).flat(),
  ]);
  const animation = Buffer.alloc(8);
  animation.writeUInt32BE(frames, 0);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    ...(frames > 1 ? [chunk('acTL', animation)] : []),
    chunk('IDAT', deflateSync(Buffer.from(rows.flat()))),
    chunk('IEND', Buffer.alloc(0)),
  ]).toString('base64');
}

/** Red above blue, in CMYK: libjpeg's own, of 16 x 16. */
const CMYK_JPEG =
  '/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwPFxgWFBgSFBUU/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwD9U6/Kqvyqr9U6KKKK/lXor+qiiiiiiv/Z';

const redAndGreen = png(4, 2, (x) => (x < 2 ? [255, 0, 0] : [0, 255, 0]));

function writePhoto() {
  return writeEchoModel(place('photo'), {
    input: 'image',
    shape: [3, 2, 2],
    manifest: {
      kind: 'image',
      row: { image: { formats: ['png', 'jpeg'], max_bytes: 100_000, max_pixels: 1_000_000 } },
      preprocess: {
        type: 'photo',
        width: 2,
        height: 2,
        color: 'bgr',
        fit: 'stretch',
        resample: 'box',
        mean: [0.5, 0.5, 0],
        std: [0.5, 0.5, 1],
        layout: 'NCHW',
      },
    },
    golden: [
      {
        input: { image: redAndGreen },
        output: {
          y: [
            [
              [-1, -1],
              [-1, -1],
            ],
            [
              [-1, 1],
              [-1, 1],
            ],
            [
              [1, 0],
              [1, 0],
            ],
          ],
        },
      },
    ],
  });
}

describe('photos', () => {
  test('become the tensor of the manifest: order of colours, mean and deviation, layout', async () => {
    const blue = [
      [
        [1, 1],
        [1, 1],
      ],
      [
        [-1, -1],
        [-1, -1],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ];
    const rows = [{ image: `data:image/png;base64,${png(3, 5, () => [0, 0, 255])}` }];
    expect(await outputsOf('photo', rows)).toEqual([{ y: blue }]);
  });

  test('of CMYK are converted', async () => {
    const [output] = (await outputsOf('photo', [{ image: CMYK_JPEG }])) as [{ y: number[][][] }];
    const [blue, , red] = output.y as [number[][], number[][], number[][]];
    expect(red[0]?.[0]).toBeGreaterThan(0.7);
    expect(red[1]?.[0]).toBeLessThan(0.4);
    expect(blue[1]?.[0]).toBeGreaterThan(blue[0]?.[0] ?? 1);
  });

  test('that move, or are a hair, fail alone', async () => {
    const rows = [
      { image: redAndGreen },
      { image: png(4, 2, () => [1, 2, 3], 2) },
      { image: png(1, 101, () => [1, 2, 3]) },
      { image: 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7' },
    ];
    expect(await outputsOf('photo', rows)).toMatchObject([
      { y: expect.any(Array) },
      {
        code: 'unsupported_image_format',
        pointer: '/image',
        detail: 'The image is an animated PNG; send a single picture.',
      },
      { code: 'image_too_large', pointer: '/image', detail: expect.stringContaining('1 x 101 pixels') },
      { code: 'unsupported_image_format', pointer: '/image', detail: 'The image is GIF; send PNG or JPEG.' },
    ]);
  });
});

const WORDS = `
export function preprocess({ words, delay }) {
  if (delay) for (;;);
  if (words.includes('bad')) throw Object.assign(new Error('a bad word'), { pointer: '/words' });
  return { lengths: words.map((word) => word.length) };
}
export function postprocess({ y }, { words }) {
  if (words[0] === 'silent') throw new Error('nothing to say');
  return { total: y.data.reduce((sum, length) => sum + length, 0), words: words.length };
}
`;

async function writeWords() {
  const file = await writeDeclaredFile(place('words'), 'words.js', WORDS);
  return writeEchoModel(place('words'), {
    input: 'lengths',
    shape: [-1],
    manifest: {
      kind: 'custom',
      row: {
        schema: {
          type: 'object',
          required: ['words'],
          additionalProperties: false,
          properties: {
            words: { type: 'array', minItems: 1, maxItems: 5, items: { type: 'string', maxLength: 20 } },
            delay: { type: 'boolean' },
          },
        },
      },
      preprocess: { type: 'module', ...file },
      postprocess: { type: 'module', ...file, outputs: ['y'] },
    },
    golden: [{ input: { words: ['one', 'three'] }, output: { total: 8, words: 2 } }],
  });
}

describe('custom rows', () => {
  test('are read and answered by the code of the model, which fails a row alone', async () => {
    const rows = [{ words: ['a', 'bcd'] }, { words: ['x', 'bad'] }, { words: ['silent'] }, { words: ['four'] }];
    expect(await outputsOf('words', rows)).toEqual([
      { total: 4, words: 2 },
      { code: 'invalid_row', detail: 'a bad word', pointer: '/words' },
      { code: 'model_code_failed', detail: 'nothing to say' },
      { total: 4, words: 1 },
    ]);
  });

  test('that hang in the code are found like those that hang in the model', async () => {
    const rows = [{ words: ['a'] }, { words: ['b'], delay: true }, { words: ['c'] }];
    expect(await outputsOf('words', rows)).toMatchObject([{ total: 1 }, { code: 'runner_timeout' }, { total: 1 }]);
  });

  test('are validated against the schema of the manifest', async () => {
    const { status, body } = await post('words', [{ words: ['a'] }, { words: ['a', 7], more: 1 }]);
    expect([status, body.code]).toEqual([400, 'invalid_request']);
    expect(body.errors).toEqual([
      { pointer: '/inputs/1/words/1', detail: 'is not of type string' },
      { pointer: '/inputs/1/more', detail: 'unknown field' },
    ]);
    const { body: model } = await request(`${platform.baseUrl}/models/words`);
    expect(model).toMatchObject({ kind: 'custom', row_schema: { type: 'object', required: ['words'] } });
  });
});

/** Numbers of three classes, of which the best two are told; the names stand in a file. */
async function writeTagger() {
  const file = await writeDeclaredFile(place('tagger'), 'labels.txt', 'cat\ndog\nfish\n');
  return writeEchoModel(place('tagger'), {
    input: 'x',
    shape: [3],
    manifest: {
      kind: 'tensor',
      row: { tensors: [{ name: 'x', dtype: 'float32', shape: [3] }] },
      preprocess: { type: 'pad' },
      postprocess: { type: 'classify', output: 'y', activation: 'none', labels_file: file, top_k: 2 },
    },
    golden: [
      {
        input: { x: [0.5, 0.25, 0.25] },
        output: {
          label: 'cat',
          probability: 0.5,
          top: [
            { label: 'cat', probability: 0.5 },
            { label: 'dog', probability: 0.25 },
          ],
        },
      },
    ],
  });
}

test('labels come from a file beside the model', async () => {
  expect(await outputsOf('tagger', [{ x: [0, 0.25, 0.75] }])).toMatchObject([
    { label: 'fish', top: [{ label: 'fish', probability: 0.75 }, { label: 'dog' }] },
  ]);
});

/** A letterboxed picture of 8 x 4: half of it is a cat, and a third box is the first one again. */
function writeDetector() {
  return writeDetectorModel(place('detector'), {
    size: { width: 4, height: 4 },
    boxes: [
      [0, 1, 2, 3],
      [2, 1, 4, 3],
      [0, 1, 2, 2.9],
    ],
    scores: [
      [0.9, 0.1],
      [0.2, 0.75],
      [0.8, 0.1],
    ],
    golden: {
      input: { image: png(8, 4, () => [9, 9, 9]) },
      output: {
        detections: [
          { label: 'cat', score: 0.9, box: [0, 0, 4, 4] },
          { label: 'dog', score: 0.75, box: [4, 0, 8, 4] },
        ],
      },
    },
  });
}

test('boxes are told in pixels of the picture that was sent', async () => {
  const rows = [{ image: png(8, 4, () => [1, 2, 3]) }, { image: png(40, 40, () => [1, 2, 3]) }];
  const boxes = (await outputsOf('detector', rows)).map((output) =>
    (output as { detections: { box: number[] }[] }).detections.map(({ box }) => box),
  );
  expect(boxes).toEqual([
    [
      [0, 0, 4, 4],
      [4, 0, 8, 4],
    ],
    [
      [0, 10, 20, 30],
      [20, 10, 40, 30],
    ],
  ]);
});

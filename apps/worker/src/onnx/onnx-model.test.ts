import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { OnnxGraph } from '../../../../test/support/models/onnx-graph.ts';
import { ProtobufWriter } from '../../../../test/support/models/protobuf-writer.ts';
import { zipMapModel } from '../../../../test/support/models/zip-map-model.ts';
import { ortEngine } from '../runner/ort-engine.ts';
import { readOnnxModel } from './onnx-model.ts';
import { ONNX_LIMITS } from './onnx-scan.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-onnx-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function fileOf(bytes: Uint8Array | ProtobufWriter): Promise<string> {
  const path = join(dir, 'model.onnx');
  await writeFile(path, bytes instanceof ProtobufWriter ? bytes.finish() : bytes);
  return path;
}

function modelOf(graph: ProtobufWriter): ProtobufWriter {
  return new ProtobufWriter().int(1, 8).message(7, graph).message(8, new ProtobufWriter().string(1, '').int(2, 17));
}

const message = () => new ProtobufWriter();

test.each(['fraud', 'digits'])('reads of %s the inputs and outputs that the engine finds', async (name) => {
  const path = fileURLToPath(new URL(`../../../../models/${name}/1/model.onnx`, import.meta.url));
  const model = await readOnnxModel(path);
  const session = await ortEngine.load(path, { intraOpNumThreads: 1 });
  const asEngine = (values: typeof model.inputs) =>
    values.map(({ name, elemType, dims }) => ({ name, dtype: elemType, shape: dims }));
  const named = (shape: readonly (number | string)[]) => shape.map((dim) => (dim === '' ? undefined : dim));
  const engineValues = (values: typeof session.inputs) =>
    values.map((value) => ({ ...value, shape: named(value.shape) }));
  expect(asEngine(model.inputs)).toEqual(engineValues(session.inputs));
  expect(asEngine(model.outputs)).toEqual(engineValues(session.outputs));
  expect(model).toMatchObject({ externalData: [], functions: [] });
  expect(model.nodes.length).toBeGreaterThan(0);
  await session.release();
});

test('reads types of all kinds, the producer and what a converter noted', async () => {
  const model = await readOnnxModel(await fileOf(zipMapModel([0, 1])));
  expect(model).toMatchObject({
    irVersion: 8,
    opsets: [
      { domain: 'ai.onnx', version: 17 },
      { domain: 'ai.onnx.ml', version: 3 },
    ],
    producer: { name: 'a test', version: '' },
    inputs: [{ name: 'input', type: 'tensor', elemType: 'float32', dims: ['rows', 2] }],
    outputs: [
      { name: 'output_label', type: 'tensor', elemType: 'int64', dims: ['rows', 1] },
      {
        name: 'output_probability',
        type: 'sequence',
        elemType: 'float32',
        dims: undefined,
        of: { type: 'map', keyType: 'int64', elemType: 'float32' },
      },
    ],
    nodes: [
      { opType: 'Softmax', domain: 'ai.onnx', name: 'Softmax node', inputs: ['input'], outputs: ['probabilities'] },
      { opType: 'ArgMax' },
      { opType: 'ZipMap', domain: 'ai.onnx.ml' },
    ],
  });
  expect([...model.metadataProps]).toEqual([['made', 'by hand']]);
});

test('an input that has an initializer is a default, and none that a caller gives', async () => {
  const graph = new OnnxGraph('default');
  const x = graph.input('x', 'float32', ['batch', 1]);
  const weight = graph.floats([2], [1]);
  graph.input(weight, 'float32', [1]);
  graph.node('Mul', [x, weight], { output: 'y' });
  graph.output('y', 'float32', ['batch', 1]);
  const { inputs, initializers } = await readOnnxModel(await fileOf(graph.toModel()));
  expect(inputs.map(({ name }) => name)).toEqual(['x']);
  expect(initializers).toEqual([weight]);
});

test('finds the operators of subgraphs and of functions, and says where they are', async () => {
  const body = new OnnxGraph('body');
  body.node('Identity', ['a'], { output: 'b' });
  const graph = new OnnxGraph('outer');
  graph.node('Loop', [graph.bool(true)], { output: 'y', body });
  const inner = message().string(2, 'out').string(4, 'Secret').string(7, 'evil.example');
  const model = modelOf(graph.toProto()).message(25, message().string(1, 'Twice').string(10, 'own').message(7, inner));
  const { nodes, functions } = await readOnnxModel(await fileOf(model));
  expect(nodes.map(({ opType, domain, place }) => [opType, domain, place])).toEqual([
    ['Loop', 'ai.onnx', ''],
    ['Identity', 'ai.onnx', 'Loop of y > body'],
    ['Secret', 'evil.example', 'function own.Twice'],
  ]);
  expect(functions).toEqual([{ domain: 'own', name: 'Twice' }]);
});

test('finds the data that lies beside the model, in initializers, attributes and sparse tensors', async () => {
  const entry = (key: string, value: string) => message().string(1, key).string(2, value);
  const tensor = (name: string) =>
    message()
      .int(1, 2)
      .int(1, 3)
      .int(2, 1)
      .string(8, name)
      .message(13, entry('location', `${name}.bin`))
      .int(14, 1);
  const constant = message().string(2, 'c').string(4, 'Constant');
  constant.message(5, message().string(1, 'value').message(5, tensor('attribute')));
  const graph = message()
    .message(5, tensor('initializer').message(13, entry('offset', '4096')).message(13, entry('length', '24')))
    .message(15, message().message(1, tensor('sparse')))
    .message(1, constant);
  const { externalData } = await readOnnxModel(await fileOf(modelOf(graph)));
  expect(externalData).toEqual([
    { tensor: 'initializer', elemType: 'float32', dims: [2, 3], location: 'initializer.bin', offset: 4096, length: 24 },
    {
      tensor: 'sparse',
      elemType: 'float32',
      dims: [2, 3],
      location: 'sparse.bin',
      offset: undefined,
      length: undefined,
    },
    { tensor: 'attribute', elemType: 'float32', dims: [2, 3], location: 'attribute.bin' },
  ]);
});

test('jumps over the numbers of a tensor of three gigabytes', async () => {
  const path = join(dir, 'huge.onnx');
  const bytes = 3 * 1024 ** 3;
  // Sparse: it takes no room on the disk.
  const varint = (value: number) => message().int(0, value).finish().subarray(1);
  const around = (tag: number, length: number) => Buffer.concat([Buffer.of(tag), varint(length)]);
  const raw = around((9 << 3) | 2, bytes);
  const name = message().string(8, 'huge').finish();
  const tensor = around((5 << 3) | 2, name.length + raw.length + bytes);
  const head = Buffer.concat([
    around((7 << 3) | 2, tensor.length + name.length + raw.length + bytes),
    tensor,
    name,
    raw,
  ]);
  const file = await open(path, 'w');
  await file.write(head);
  await file.truncate(head.length + bytes);
  await file.write(message().int(1, 9).finish(), 0, 2, head.length + bytes);
  await file.close();
  expect(await readOnnxModel(path)).toMatchObject({ irVersion: 9, initializers: ['huge'] });
  await rm(path);
});

test('every beginning of a model is refused as cut off, or has less in it', async () => {
  const whole = zipMapModel([0, 1]);
  for (let length = 0; length < whole.length; length++) {
    const error = await readOnnxModel(await fileOf(whole.subarray(0, length))).then(
      ({ metadataProps }) => metadataProps.size,
      (error: Error) => error.name,
    );
    expect([0, 'ModelFileError']).toContain(error);
  }
});

test.each([
  ['nothing', Buffer.alloc(0), 'It has no graph'],
  ['a text', Buffer.from('no graph'), 'is not a model that can be loaded'],
  ['an ORT file', Buffer.from('\x10\0\0\0ORTM and so on'), 'a model in the ORT format'],
  ['a number that does not end', Buffer.alloc(40, 0xff), 'The number at byte 0 does not end.'],
  ['a length beyond the file', Buffer.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1), 'is cut off'],
  ['a tag that C++ would cut', Buffer.of(0xba, 0x80, 0x80, 0x80, 0x10, 0), 'There is no field at byte 0'],
  ['a group', Buffer.of(0x3b, 0x3c), 'wire type 3'],
  [
    'two graphs, which C++ would merge',
    message().message(7, message()).message(7, message()).finish(),
    'is there twice',
  ],
  ['a name that is no text', message().bytes(2, Buffer.of(0xff, 0xfe)).message(7, message()).finish(), 'is not UTF-8'],
])('%s is refused, and the message says why', async (_title, bytes, text) => {
  await expect(readOnnxModel(await fileOf(bytes))).rejects.toThrow(text);
});

test('a type or a graph that nests without end is refused', async () => {
  let type = message().message(1, message().int(1, 1));
  for (let depth = 0; depth < 200; depth++) type = message().message(4, message().message(1, type));
  const deepType = modelOf(message().message(11, message().string(1, 'x').message(2, type)));
  await expect(readOnnxModel(await fileOf(deepType))).rejects.toThrow('nests deeper than 100 levels');

  let graph = message();
  for (let depth = 0; depth < 200; depth++) {
    graph = message().message(1, message().string(4, 'If').message(5, message().string(1, 'then').message(6, graph)));
  }
  await expect(readOnnxModel(await fileOf(modelOf(graph)))).rejects.toThrow('nests deeper than 100 levels');
});

test('nodes, names and text are counted', async () => {
  const graph = message();
  for (let index = 0; index < 10; index++) graph.message(1, message().string(2, `value ${index}`).string(4, 'Relu'));
  const path = await fileOf(modelOf(graph));
  const within = (limits: Partial<typeof ONNX_LIMITS>) => readOnnxModel(path, { ...ONNX_LIMITS, ...limits });
  await expect(within({ maxNodes: 10, maxValues: 33, maxTextBytes: 140 })).resolves.toBeDefined();
  await expect(within({ maxNodes: 9 })).rejects.toThrow('more than 9 nodes');
  await expect(within({ maxValues: 20 })).rejects.toThrow('more than 20 tensors');
  await expect(within({ maxTextBytes: 100 })).rejects.toThrow('longer than 100 bytes');
});

test('what is no file is refused', async () => {
  await expect(readOnnxModel(dir)).rejects.toThrow('is not a file.');
  await expect(readOnnxModel(join(dir, 'none.onnx'))).rejects.toThrow('ENOENT');
});

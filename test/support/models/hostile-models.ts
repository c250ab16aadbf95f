import { execFileSync } from 'node:child_process';
import { link, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ModelPlace, writeModelFolder } from './model-folder.ts';
import { OnnxGraph } from './onnx-graph.ts';
import { ProtobufWriter } from './protobuf-writer.ts';
import { HANGING_STEPS, writeSlowModel } from './tiny-models.ts';

/** A repository entry that must not be served; `says`: what the worker says of it. */
type Hostile = { name: string; says: RegExp; write: (place: ModelPlace) => Promise<void> };

/** Bytes of the tensor that a balloon makes while it loads. */
const BALLOON_BYTES = 4 * 40_000 ** 2;

/**
 * Models that somebody made to do harm, or that a bad disk did. Each has the right SHA-256 in its manifest: who can write
 * one file of a folder can write the other.
 *
 * @param secretFile lies outside of every model's folder.
 */
export function hostileModels({ secretFile }: { secretFile: string }): Hostile[] {
  const files = (name: string, says: RegExp, onnx: Uint8Array): Hostile => ({
    name,
    says,
    write: async (place) => {
      await writeScore(place, onnx);
    },
  });
  const external = (name: string, says: RegExp, location: string, prepare?: (folder: string) => Promise<unknown>) => ({
    name,
    says,
    write: async (place: ModelPlace) => {
      const { folder } = await writeScore(place, externalModel({ location }));
      await prepare?.(folder);
    },
  });
  const whole = externalModel({ location: 'weights.bin' });
  return [
    files('text', /is not a model that can be loaded/, Buffer.from('no graph at all, and yet a file')),
    files('empty', /It has no graph/, new Uint8Array()),
    files('cut-off', /is cut off/, whole.subarray(0, whole.length / 2)),
    files('endless-number', /The number at byte 0 does not end/, Buffer.alloc(1024, 0xff)),
    files('deep', /nests deeper than 100 levels/, deepModel(1000)),
    files('foreign', /uses the operator Run of the domain "evil.example", by the node "payload"/, foreignModel()),
    files('many-nodes', /has more than 1000 nodes/, longModel(1001)),
    files('balloon', /killed while it loaded. It had taken \d+ bytes of memory/, balloonModel()),
    external('climber', /leads out of its folder/, '../../../secret.bin'),
    external('absolute', /is not relative to the model/, secretFile),
    external('address', /stands for memory of the process/, '*/_ORT_MEM_ADDR_/*', async (folder) => {
      await mkdir(join(folder, '*', '_ORT_MEM_ADDR_'), { recursive: true });
      await writeFile(join(folder, '*', '_ORT_MEM_ADDR_', '*'), new Uint8Array(8));
    }),
    external('linked', /a link leads out of the folder/, 'weights.bin', (folder) =>
      symlink(secretFile, join(folder, 'weights.bin')),
    ),
    external('linked-folder', /a link leads out of the folder/, 'data/secret.bin', (folder) =>
      symlink(join(secretFile, '..'), join(folder, 'data')),
    ),
    external('hard-linked', /has a hard link elsewhere/, 'weights.bin', (folder) =>
      link(secretFile, join(folder, 'weights.bin')),
    ),
    external('pipe-beside', /is not a file/, 'weights.bin', async (folder) =>
      execFileSync('mkfifo', [join(folder, 'weights.bin')]),
    ),
    external('short', /bytes 0 to 4, and the file has 3/, 'weights.bin', (folder) =>
      writeFile(join(folder, 'weights.bin'), new Uint8Array(3)),
    ),
    {
      name: 'pipe',
      says: /is not a file/,
      write: async (place) => {
        const { folder } = await writeScore(place, whole);
        await rm(join(folder, 'model.onnx'));
        execFileSync('mkfifo', [join(folder, 'model.onnx')]);
      },
    },
    {
      name: 'device',
      says: /is not a file/,
      write: async (place) => {
        const { folder } = await writeScore(place, whole);
        await rm(join(folder, 'model.onnx'));
        await symlink('/dev/zero', join(folder, 'model.onnx'));
      },
    },
    {
      name: 'pipe-manifest',
      says: /model.json is not a file/,
      write: async (place) => {
        const { folder } = await writeScore(place, whole);
        await rm(join(folder, 'model.json'));
        execFileSync('mkfifo', [join(folder, 'model.json')]);
      },
    },
    {
      name: 'hangs',
      says: /was not ready within \d+ ms/,
      write: async (place) => {
        const { folder } = await writeSlowModel(place);
        const row = { input: { steps: HANGING_STEPS }, output: { score: 0 } };
        await writeFile(join(folder, 'golden.jsonl'), JSON.stringify(row));
      },
    },
  ];
}

/** score = x0 · weight, of a weight that lies beside the model. */
export function externalModel(data: { location: string; offset?: number; length?: number }): Uint8Array {
  const weight = new ProtobufWriter().int(1, 1).int(2, 1).string(8, 'weight').int(14, 1);
  for (const [key, value] of Object.entries({ length: 4, ...data })) {
    weight.message(13, new ProtobufWriter().string(1, key).string(2, String(value)));
  }
  const graph = new OnnxGraph('external');
  graph.node('Mul', [graph.input('x0', 'float32', ['batch', 1]), 'weight'], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return modelOf(graph.toProto().message(5, weight));
}

/** Of an operator that no engine has. */
function foreignModel(): Uint8Array {
  const node = new ProtobufWriter().string(1, 'x0').string(2, 'score').string(3, 'payload').string(4, 'Run');
  const graph = new OnnxGraph('foreign');
  graph.input('x0', 'float32', ['batch', 1]);
  graph.output('score', 'float32', ['batch', 1]);
  return modelOf(graph.toProto().message(1, node.string(7, 'evil.example')));
}

function longModel(nodes: number): Uint8Array {
  const graph = new OnnxGraph('long');
  let value = graph.input('x0', 'float32', ['batch', 1]);
  for (let index = 1; index < nodes; index++) value = graph.node('Relu', [value]);
  graph.node('Relu', [value], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return graph.toModel();
}

/** A file of kilobytes that becomes gigabytes as soon as the engine computes what is constant in it. */
export function balloonModel(): Uint8Array {
  const graph = new OnnxGraph('balloon');
  const edge = new Float32Array(Math.sqrt(BALLOON_BYTES / 4)).fill(1);
  const product = graph.node('MatMul', [graph.floats(edge, [edge.length, 1]), graph.floats(edge, [1, edge.length])]);
  const most = graph.node('ReduceMax', [product], { keepdims: 0 });
  graph.node('Mul', [graph.input('x0', 'float32', ['batch', 1]), most], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return graph.toModel();
}

function deepModel(depth: number): Uint8Array {
  let graph = new OnnxGraph('inmost').toProto();
  for (let level = 0; level < depth; level++) {
    const branch = new ProtobufWriter().string(1, 'then_branch').message(6, graph).int(20, 5);
    graph = new ProtobufWriter().message(1, new ProtobufWriter().string(4, 'If').message(5, branch));
  }
  return modelOf(graph);
}

function modelOf(graph: ProtobufWriter): Uint8Array {
  const opset = new ProtobufWriter().string(1, '').int(2, 17);
  return new ProtobufWriter().int(1, 8).message(8, opset).message(7, graph).finish();
}

/** A model of one number, `x0`, and a `score`. */
export function writeScore(place: ModelPlace, onnx: Uint8Array) {
  return writeModelFolder(place, {
    onnx,
    manifest: {
      kind: 'tabular',
      inputs: [{ name: 'x0', dtype: 'float32', shape: [-1, 1] }],
      outputs: [{ name: 'score', dtype: 'float32', shape: [-1, 1] }],
      row: { fields: [{ name: 'x0', type: 'number' }] },
      preprocess: { type: 'columns' },
      postprocess: { type: 'score', output: 'score', field: 'score' },
      batching: { max_batch_size: 4, max_queue_delay_ms: 0, calibrate: false },
    },
    golden: [{ input: { x0: 1 }, output: { score: 2 } }],
  });
}

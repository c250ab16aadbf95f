import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { externalModel } from '../../../../test/support/models/hostile-models.ts';
import { OnnxGraph } from '../../../../test/support/models/onnx-graph.ts';
import { ProtobufWriter } from '../../../../test/support/models/protobuf-writer.ts';
import { checkModelFile } from './model-file-check.ts';
import { MODEL_FILE_POLICY, type ModelFilePolicy } from './model-file-policy.ts';

let dir: string;
let folder: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-check-'));
  folder = join(dir, 'model', '1');
  await mkdir(folder, { recursive: true });
});
afterEach(() => rm(dir, { recursive: true }));

async function check(bytes: Uint8Array, policy: Partial<ModelFilePolicy> = {}, file = 'model.onnx') {
  const path = join(folder, file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  return checkModelFile({ folder, path, policy: { ...MODEL_FILE_POLICY, ...policy } });
}

/** `nodes` operators one after the other, the last one of that domain; `inside` a loop. */
function model(options: { nodes?: number; domain?: string; inside?: boolean; brings?: boolean } = {}): Uint8Array {
  const { nodes = 1, domain = '', inside = false, brings = false } = options;
  const graph = new OnnxGraph('main');
  for (let index = 1; index < nodes; index++) graph.node('Relu', ['x']);
  const last = new ProtobufWriter().string(1, 'x').string(2, 'y').string(4, 'Special').string(7, domain);
  const body = new ProtobufWriter().string(1, 'body').message(6, new ProtobufWriter().message(1, last));
  const node = inside ? new ProtobufWriter().string(2, 'z').string(4, 'Loop').message(5, body) : last;
  const whole = new ProtobufWriter().int(1, 8).message(7, graph.toProto().message(1, node));
  const relu = new ProtobufWriter().string(4, 'Relu');
  if (brings) whole.message(25, new ProtobufWriter().string(1, 'Special').string(10, domain).message(7, relu));
  return whole.finish();
}

test('a file may be as large as the policy says, and no byte larger', async () => {
  const bytes = model();
  await expect(check(bytes, { maxBytes: bytes.length })).resolves.toMatchObject({ nodes: [{ opType: 'Special' }] });
  await expect(check(bytes, { maxBytes: bytes.length - 1 })).rejects.toThrow('(ONQUEUE_MODEL_MAX_BYTES)');
});

test('a model may have as many nodes as the policy says, and no more', async () => {
  await expect(check(model({ nodes: 3 }), { maxNodes: 3 })).resolves.toBeDefined();
  await expect(check(model({ nodes: 4 }), { maxNodes: 3 })).rejects.toThrow(
    'more than 3 nodes (ONQUEUE_MODEL_MAX_NODES)',
  );
});

test.each(['', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft'])('operators of the domain "%s" are taken', async (domain) => {
  await expect(check(model({ domain }))).resolves.toBeDefined();
  await expect(check(model({ domain, inside: true }))).resolves.toBeDefined();
});

test('an operator of another domain is refused by name and place, until the domain is allowed', async () => {
  await expect(check(model({ domain: 'my.ops' }))).rejects.toThrow(
    'uses the operator Special of the domain "my.ops", by the node that gives "y"; this worker takes operators of ai.onnx, ' +
      'ai.onnx.ml, com.microsoft, com.microsoft.nchwc only. If the engine knows it and you trust the model, add "my.ops" to ' +
      'ONQUEUE_MODEL_OPERATOR_DOMAINS.',
  );
  await expect(check(model({ domain: 'my.ops', inside: true }))).rejects.toThrow('(in Loop of z > body)');
  const operatorDomains = ['ai.onnx', 'my.ops'];
  await expect(check(model({ domain: 'my.ops', inside: true }), { operatorDomains })).resolves.toBeDefined();
});

test('a function that the model brings along is known by what it consists of', async () => {
  await expect(check(model({ domain: 'my.ops', brings: true }))).resolves.toBeDefined();
  await expect(check(model({ domain: 'my.ops', brings: true }), { operatorDomains: ['my.other'] })).rejects.toThrow(
    'the operator Relu of the domain "ai.onnx"',
  );
});

test('an ORT file is taken by its name, by its size only', async () => {
  const bytes = Buffer.from('\x10\0\0\0ORTM and so on');
  await expect(check(bytes, {}, 'model.ort')).resolves.toBeUndefined();
  await expect(check(bytes, { maxBytes: 5 }, 'model.ort')).rejects.toThrow('more than 5');
  await expect(check(bytes, { allowsOrtFormat: false }, 'model.ort')).rejects.toThrow('(ONQUEUE_MODEL_ORT_FORMAT)');
  await expect(check(bytes)).rejects.toThrow('a model in the ORT format');
});

test('data beside the model is taken from its own folder and below it', async () => {
  await mkdir(join(folder, 'onnx', 'data'), { recursive: true });
  await writeFile(join(folder, 'onnx', 'data', 'w.bin'), new Uint8Array(8));
  await symlink('w.bin', join(folder, 'onnx', 'data', 'alias.bin'));
  for (const location of ['data/w.bin', './data/w.bin', 'data/alias.bin']) {
    const checked = check(externalModel({ location, offset: 4, length: 4 }), {}, 'onnx/model.onnx');
    await expect(checked).resolves.toMatchObject({ externalData: [{ location }] });
  }
  const beyond = check(externalModel({ location: 'data/w.bin', offset: 5, length: 4 }), {}, 'onnx/model.onnx');
  await expect(beyond).rejects.toThrow('bytes 5 to 9, and the file has 8');
  const missing = check(externalModel({ location: 'none.bin' }));
  await expect(missing).rejects.toThrow('the tensor "weight" wants to read "none.bin", which cannot be read: ENOENT');
});

test('data beside the model is counted by files and by what all tensors claim of them', async () => {
  await writeFile(join(folder, 'w.bin'), new Uint8Array(8));
  const bytes = externalModel({ location: 'w.bin' });
  await expect(check(bytes, { maxExternalBytes: 8 })).resolves.toBeDefined();
  await expect(check(bytes, { maxExternalBytes: 7 })).rejects.toThrow('more than 7 bytes beside the model');

  const entry = (key: string, value: string) => new ProtobufWriter().string(1, key).string(2, value);
  const graph = new ProtobufWriter();
  for (let index = 0; index < 3; index++) {
    graph.message(5, new ProtobufWriter().string(8, `w${index}`).int(14, 1).message(13, entry('location', 'w.bin')));
  }
  const thrice = new ProtobufWriter().message(7, graph).finish();
  await expect(check(thrice, { maxExternalBytes: 24 })).resolves.toBeDefined();
  await expect(check(thrice, { maxExternalBytes: 23 })).rejects.toThrow('more than 23 bytes beside the model');
});

test.each([
  ['', 'names no file'],
  ['../w.bin', 'leads out of its folder'],
  ['data/../../w.bin', 'leads out of its folder'],
  ['/etc/passwd', 'not relative'],
  ['C:/windows', 'not relative'],
  ['data\\w.bin', 'a backslash'],
  ['w.bin\0.txt', 'a character that no name has'],
  ['.', 'is not a file'],
])('the location "%s" is refused', async (location, why) => {
  await writeFile(join(dir, 'model', 'w.bin'), new Uint8Array(8));
  await expect(check(externalModel({ location }))).rejects.toThrow(why);
});

test('a link that leads out of the version, also to the next one, is refused, and a second name of a file', async () => {
  await mkdir(join(dir, 'model', '10'));
  await writeFile(join(dir, 'model', '10', 'w.bin'), new Uint8Array(8));
  await symlink('../10', join(folder, 'next'));
  await expect(check(externalModel({ location: 'next/w.bin' }))).rejects.toThrow('a link leads out of the folder');
  await link(join(dir, 'model', '10', 'w.bin'), join(folder, 'w.bin'));
  await expect(check(externalModel({ location: 'w.bin' }))).rejects.toThrow('has a hard link elsewhere');
});

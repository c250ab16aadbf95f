import { elementTypeName } from './element-type.ts';
import { ModelFileError } from './model-file-error.ts';
import type { OnnxScan } from './onnx-scan.ts';
import { type OnnxValue, readValue } from './onnx-type.ts';
import type { ByteRange } from './protobuf-reader.ts';

/** An operator, wherever in the model it stands. */
export type OnnxNode = {
  opType: string;
  /** The domain of its operator; ONNX's own is `ai.onnx`, which files write as an empty text. */
  domain: string;
  /** Many exporters give none. */
  name: string;
  /** Empty: an optional input that is left out. */
  inputs: readonly string[];
  outputs: readonly string[];
  /** Where it stands: empty in the main graph, else the way to its subgraph, such as `Loop of y > body`. */
  place: string;
};

/** A tensor whose numbers lie in a file beside the model, as the model names it: nothing of it has been checked. */
export type ExternalTensor = {
  tensor: string;
  elemType: string;
  dims: readonly number[];
  location: string;
  /** Where the file says none, it begins at 0 and goes to the end. */
  offset: number | undefined;
  length: number | undefined;
};

/** What is found in all graphs of a model. */
export type OnnxContents = { nodes: OnnxNode[]; externalData: ExternalTensor[] };

export type OnnxGraph = {
  inputs: OnnxValue[];
  outputs: OnnxValue[];
  /** Of the main graph only. An input of the same name is a default, which no caller has to give. */
  initializers: string[];
};

/** ONNX's own operators; files write it either way. */
export const ONNX_DOMAIN = 'ai.onnx';

/** Reads a `GraphProto`, and adds to `contents` what it and the graphs in it hold. */
export function readGraph(options: Within): OnnxGraph {
  const { scan, range, depth } = options;
  const graph = scan.message(range, depth, [1, 5, 11, 12, 15]);
  const initializers = graph.children(5).map((tensor) => readTensor({ ...options, range: tensor, depth: depth + 1 }));
  for (const sparse of graph.children(15)) {
    initializers.push(readSparseTensor({ ...options, range: sparse, depth: depth + 1 }));
  }
  for (const node of graph.children(1)) readNode({ ...options, range: node, depth: depth + 1 });
  const values = (number: number) => graph.children(number).map((value) => readValue(scan, value, depth + 1));
  const constants = new Set(initializers);
  return { inputs: values(11).filter(({ name }) => !constants.has(name)), outputs: values(12), initializers };
}

type Within = { scan: OnnxScan; range: ByteRange; depth: number; place: string; contents: OnnxContents };

/** A `NodeProto`, with the graphs and tensors in its attributes. */
export function readNode({ scan, range, depth, place, contents }: Within): OnnxNode {
  scan.countNode();
  const message = scan.message(range, depth, [1, 2, 3, 4, 5, 7]);
  const node = {
    opType: message.text(4),
    domain: message.text(7) || ONNX_DOMAIN,
    name: message.text(3),
    inputs: message.texts(1),
    outputs: message.texts(2),
    place,
  };
  contents.nodes.push(node);
  for (const attribute of message.children(5)) {
    readAttribute({ scan, range: attribute, depth: depth + 1, place, contents }, node);
  }
  return node;
}

/** An `AttributeProto`: graphs (6, 11) and tensors (5, 10, 22, 23) are all that matters of it. */
export function readAttribute(within: Within, node?: OnnxNode): void {
  const { scan, range, depth, place, contents } = within;
  const message = scan.message(range, depth, [1, 5, 6, 10, 11, 22, 23]);
  const [graph, tensor, sparse] = [message.child(6), message.child(5), message.child(22)];
  const name = message.text(1);
  const step = node ? `${node.opType} of ${node.outputs[0] ?? node.name} > ${name}` : name;
  for (const subgraph of [...(graph ? [graph] : []), ...message.children(11)]) {
    const inside = place === '' ? step : `${place} > ${step}`;
    readGraph({ scan, range: subgraph, depth: depth + 1, place: inside, contents });
  }
  for (const one of [...(tensor ? [tensor] : []), ...message.children(10)]) {
    readTensor({ ...within, range: one, depth: depth + 1 });
  }
  for (const one of [...(sparse ? [sparse] : []), ...message.children(23)]) {
    readSparseTensor({ ...within, range: one, depth: depth + 1 });
  }
}

/** A `TensorProto`, without its numbers; gives its name. */
function readTensor({ scan, range, depth, contents }: Within): string {
  const message = scan.message(range, depth, [1, 2, 8, 13, 14]);
  const name = message.text(8);
  const entries = message.children(13);
  // 1: EXTERNAL. Entries without it are ignored by the engine, and yet nobody's honest work.
  if (message.int(14) !== 1 && entries.length === 0) return name;
  const details = new Map<string, string>();
  for (const entry of entries) {
    const pair = scan.message(entry, depth + 1, [1, 2]);
    const key = pair.text(1);
    if (details.has(key)) throw new ModelFileError(`The tensor "${name}" says twice what the ${key} of its data is.`);
    details.set(key, pair.text(2));
  }
  contents.externalData.push({
    tensor: name,
    elemType: elementTypeName(message.int(2) ?? 0),
    dims: scan.wholeNumbers(range, 1).map(Number),
    location: details.get('location') ?? '',
    offset: byteCount(name, 'offset', details.get('offset')),
    length: byteCount(name, 'length', details.get('length')),
  });
  return name;
}

/** A `SparseTensorProto`: the name is that of its values. */
function readSparseTensor(within: Within): string {
  const message = within.scan.message(within.range, within.depth, [1, 2]);
  const [values, indices] = [message.child(1), message.child(2)];
  if (indices) readTensor({ ...within, range: indices, depth: within.depth + 1 });
  return values ? readTensor({ ...within, range: values, depth: within.depth + 1 }) : '';
}

function byteCount(tensor: string, key: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(bytes)) {
    throw new ModelFileError(
      `The ${key} of the data of the tensor "${tensor}" is "${text}", and not a number of bytes.`,
    );
  }
  return bytes;
}

import { openRegularFile } from '../models/regular-file.ts';
import { ModelFileError } from './model-file-error.ts';
import {
  type ExternalTensor,
  ONNX_DOMAIN,
  type OnnxContents,
  type OnnxGraph,
  type OnnxNode,
  readAttribute,
  readGraph,
  readNode,
} from './onnx-graph.ts';
import { ONNX_LIMITS, type OnnxLimits, OnnxScan } from './onnx-scan.ts';
import { type ByteRange, ProtobufReader } from './protobuf-reader.ts';

export type OnnxModel = OnnxGraph & {
  irVersion: number;
  opsets: readonly { domain: string; version: number }[];
  producer: { name: string; version: string };
  /** Of the main graph, its subgraphs and the functions of the model. */
  nodes: readonly OnnxNode[];
  /** Functions that the model brings along: operators of its own. */
  functions: readonly { domain: string; name: string }[];
  externalData: readonly ExternalTensor[];
  metadataProps: ReadonlyMap<string, string>;
};

/**
 * Reads what a `.onnx` file holds, without its numbers and without the engine: it jumps over tensors, so that a file of
 * gigabytes takes as long as one of its graph. It blocks the event loop while it reads: the supervisor leaves it to a runner.
 *
 * @param path of the file; of an ONNX Runtime file (`.ort`) nothing can be read this way.
 * @throws ModelFileError saying what is wrong, when it is no ONNX model, is cut off or corrupt, or goes beyond `limits`.
 */
export async function readOnnxModel(path: string, limits: OnnxLimits = ONNX_LIMITS): Promise<OnnxModel> {
  const { file, size } = await openRegularFile(path);
  try {
    const reader = new ProtobufReader({ fd: file.fd, size });
    if (isOrtFormat(reader)) throw new ModelFileError('It is a model in the ORT format, which is not ONNX.');
    return readModel(new OnnxScan(reader, limits), { start: 0, end: size });
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    throw new ModelFileError(`${path} is not a model that can be loaded: ${error.message}`, { cause: error });
  } finally {
    await file.close();
  }
}

/** A flatbuffer says what it is at its fourth byte. */
function isOrtFormat(reader: ProtobufReader): boolean {
  return reader.size >= 8 && reader.bytes({ start: 4, end: 8 }).toString('latin1') === 'ORTM';
}

/** A `ModelProto`. */
function readModel(scan: OnnxScan, range: ByteRange): OnnxModel {
  const model = scan.message(range, 0, [1, 2, 3, 7, 8, 14, 20, 25]);
  const main = model.child(7);
  if (!main) throw new ModelFileError('It has no graph.');
  const contents: OnnxContents = { nodes: [], externalData: [] };
  const graph = readGraph({ scan, range: main, depth: 1, place: '', contents });
  const functions = model.children(25).map((body) => readFunction(scan, body, contents));
  // Graphs for training (1, 2) run nowhere here; what they hold is looked at all the same.
  for (const training of model.children(20)) {
    const message = scan.message(training, 1, [1, 2]);
    for (const body of [message.child(1), message.child(2)]) {
      if (body) readGraph({ scan, range: body, depth: 2, place: 'training', contents });
    }
  }
  return {
    ...graph,
    irVersion: model.int(1) ?? 0,
    opsets: model.children(8).map((opset) => readOpset(scan, opset)),
    producer: { name: model.text(2), version: model.text(3) },
    nodes: contents.nodes,
    functions,
    externalData: contents.externalData,
    metadataProps: new Map(model.children(14).map((entry) => readEntry(scan, entry))),
  };
}

/** A `FunctionProto`. */
function readFunction(scan: OnnxScan, range: ByteRange, contents: OnnxContents): { domain: string; name: string } {
  const message = scan.message(range, 1, [1, 7, 10, 11]);
  const [name, domain] = [message.text(1), message.text(10) || ONNX_DOMAIN];
  const within = { scan, depth: 2, place: `function ${domain}.${name}`, contents };
  for (const node of message.children(7)) readNode({ ...within, range: node });
  for (const attribute of message.children(11)) readAttribute({ ...within, range: attribute });
  return { domain, name };
}

function readOpset(scan: OnnxScan, range: ByteRange): { domain: string; version: number } {
  const message = scan.message(range, 1, [1, 2]);
  return { domain: message.text(1) || ONNX_DOMAIN, version: message.int(2) ?? 0 };
}

function readEntry(scan: OnnxScan, range: ByteRange): [string, string] {
  const message = scan.message(range, 1, [1, 2]);
  return [message.text(1), message.text(2)];
}

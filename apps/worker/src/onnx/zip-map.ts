import { type FileHandle, open } from 'node:fs/promises';
import { openRegularFile } from '../models/regular-file.ts';
import { ModelFileError } from './model-file-error.ts';
import { ONNX_LIMITS, type OnnxLimits, OnnxScan } from './onnx-scan.ts';
import { type ByteRange, LENGTH_DELIMITED, ProtobufReader } from './protobuf-reader.ts';

/** A ZipMap that is gone. */
export type RemovedZipMap = {
  /** The output that it gave: a sequence of maps from label to probability, one a row. */
  output: string;
  /** The tensor it was made of, now an output in its place: a row a row, a column a label. */
  tensor: string;
  /** In the order of the columns; a whole number beyond 2 ** 53 as text. */
  labels: readonly (string | number)[];
};

/**
 * Writes a copy of a classifier without the `ZipMap` at its end, so that it answers a tensor of probabilities: the
 * engine's Node.js binding can return no sequence of maps. A ZipMap whose output feeds another node stays.
 *
 * Data beside the model is named relative to it: `target` belongs into the same folder, or the data beside the copy.
 *
 * @returns one entry for each ZipMap that is gone; when there is none, nothing is written.
 * @throws ModelFileError when `path` cannot be read as a model.
 */
export async function withoutZipMap(
  path: string,
  target: string,
  limits: OnnxLimits = ONNX_LIMITS,
): Promise<RemovedZipMap[]> {
  const { file: source, size } = await openRegularFile(path);
  try {
    const scan = new OnnxScan(new ProtobufReader({ fd: source.fd, size }), limits);
    const whole = { start: 0, end: size };
    const graph = scan.message(whole, 0, [GRAPH]).child(GRAPH);
    const field = graph && [...scan.fields(whole)].find(({ value }) => value.start === graph.start);
    if (!field) throw new ModelFileError(`${path} has no graph.`);
    const zipMaps = trailingZipMaps(scan, field.value);
    if (zipMaps.length === 0) return [];
    const edits = editsOf(scan, field.value, zipMaps);
    const grown = edits.reduce((sum, { start, end, bytes }) => sum + bytes.length - (end - start), 0);
    const length = field.value.end - field.value.start + grown;
    const head = { start: field.start, end: field.value.start, bytes: tagged(GRAPH, length) };
    await copyEdited({ source, size, target, edits: [head, ...edits] });
    return zipMaps.map(({ output, tensor, labels }) => ({ output, tensor, labels }));
  } finally {
    await source.close();
  }
}

/** Numbers of fields, in the messages of their names. */
const GRAPH = 7;
const GRAPH_NODE = 1;
const GRAPH_OUTPUT = 12;
const GRAPH_VALUE_INFO = 13;

type ZipMap = RemovedZipMap & { node: ByteRange };
/** These bytes in the place of those from `start` to `end`. */
type Edit = ByteRange & { bytes: Uint8Array };

function trailingZipMaps(scan: OnnxScan, graph: ByteRange): ZipMap[] {
  const zipMaps: ZipMap[] = [];
  const consumed = new Set<string>();
  const message = scan.message(graph, 1, [GRAPH_NODE, GRAPH_OUTPUT]);
  for (const range of message.children(GRAPH_NODE)) {
    const node = scan.message(range, 2, [1, 2, 4, 5, 7]);
    const inputs = node.texts(1);
    for (const input of inputs) consumed.add(input);
    if (node.text(4) !== 'ZipMap' || node.text(7) !== 'ai.onnx.ml') continue;
    const labels = node.children(5).flatMap((attribute) => labelsIn(scan, attribute));
    zipMaps.push({ output: node.texts(2)[0] ?? '', tensor: inputs[0] ?? '', labels, node: range });
  }
  const outputs = new Set(message.children(GRAPH_OUTPUT).map((output) => scan.message(output, 2, [1]).text(1)));
  return zipMaps.filter(({ output, tensor }) => tensor !== '' && outputs.has(output) && !consumed.has(output));
}

/** An `AttributeProto`: `classlabels_int64s` or `classlabels_strings`. */
function labelsIn(scan: OnnxScan, attribute: ByteRange): (string | number)[] {
  const message = scan.message(attribute, 3, [1, 9]);
  const name = message.text(1);
  if (name === 'classlabels_strings') return message.texts(9);
  return name === 'classlabels_int64s' ? scan.wholeNumbers(attribute, 8) : [];
}

/** In the order of the file. */
function editsOf(scan: OnnxScan, graph: ByteRange, zipMaps: readonly ZipMap[]): Edit[] {
  const byOutput = new Map(zipMaps.map((zipMap) => [zipMap.output, zipMap]));
  const tensors = new Set(zipMaps.map(({ tensor }) => tensor));
  const nodes = new Set(zipMaps.map(({ node }) => node.start));
  const named = (range: ByteRange) => scan.message(range, 2, [1]).text(1);
  const outputs = new Set(scan.message(graph, 1, [GRAPH_OUTPUT]).children(GRAPH_OUTPUT).map(named));
  const edits: Edit[] = [];
  for (const { number, wireType, start, value } of scan.fields(graph)) {
    if (wireType !== LENGTH_DELIMITED) continue;
    const replaceBy = (bytes: Uint8Array) => edits.push({ start, end: value.end, bytes });
    if (number === GRAPH_NODE && nodes.has(value.start)) replaceBy(NOTHING);
    // What is said of a value that is gone, or of one that is an output now and says it itself.
    if (number === GRAPH_VALUE_INFO && (byOutput.has(named(value)) || tensors.has(named(value)))) replaceBy(NOTHING);
    const zipMap = number === GRAPH_OUTPUT ? byOutput.get(named(value)) : undefined;
    if (!zipMap) continue;
    replaceBy(outputs.has(zipMap.tensor) ? NOTHING : delimited(GRAPH_OUTPUT, probabilities(zipMap)));
    outputs.add(zipMap.tensor);
  }
  return edits;
}

/** A `ValueInfoProto`: float32, any number of rows, a column a label. */
function probabilities({ tensor, labels }: ZipMap): Uint8Array {
  const columns = labels.length > 0 ? Buffer.concat([varint(8), varint(labels.length)]) : NOTHING;
  const shape = Buffer.concat([delimited(1, NOTHING), delimited(1, columns)]);
  const tensorType = Buffer.concat([varint(8), varint(1), delimited(2, shape)]);
  return Buffer.concat([delimited(1, Buffer.from(tensor)), delimited(2, delimited(1, tensorType))]);
}

const NOTHING = Buffer.alloc(0);

function delimited(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([tagged(number, value.length), value]);
}

/** The tag and the length that stand before a message or a text. */
function tagged(number: number, length: number): Buffer {
  return Buffer.concat([varint(number * 8 + LENGTH_DELIMITED), varint(length)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

const PIECE_BYTES = 1024 * 1024;

async function copyEdited(options: { source: FileHandle; size: number; target: string; edits: readonly Edit[] }) {
  const { source, size, target, edits } = options;
  const copy = await open(target, 'w');
  try {
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, size));
    let position = 0;
    for (const edit of [...edits, { start: size, end: size, bytes: NOTHING }]) {
      while (position < edit.start) {
        const wanted = Math.min(piece.length, edit.start - position);
        const { bytesRead } = await source.read(piece, 0, wanted, position);
        if (bytesRead === 0) throw new ModelFileError('The file became shorter while it was read.');
        await copy.writeFile(piece.subarray(0, bytesRead));
        position += bytesRead;
      }
      await copy.writeFile(edit.bytes);
      position = edit.end;
    }
  } finally {
    await copy.close();
  }
}

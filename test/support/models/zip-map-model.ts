import { ProtobufWriter } from './protobuf-writer.ts';

const IR_VERSION = 8;
const ATTRIBUTE = { ints: 7, strings: 8 } as const;

/**
 * The bytes of a classifier as exporters of scikit-learn write it: `input` (two numbers a row) gives `output_label` and,
 * by a `ZipMap`, `output_probability`, a sequence of maps. The probabilities are the softmax of the two numbers.
 */
export function zipMapModel(labels: readonly number[] | readonly string[]): Uint8Array {
  const softmax = node('Softmax', ['input'], ['probabilities']);
  const best = node('ArgMax', ['input'], ['output_label']);
  const zipMap = node('ZipMap', ['probabilities'], ['output_probability']).string(7, 'ai.onnx.ml');
  zipMap.message(5, labelsAttribute(labels));
  const probabilities = new ProtobufWriter().int(1, 1).message(2, shape(['rows', 2]));
  const map = new ProtobufWriter()
    .int(1, typeof labels[0] === 'string' ? 8 : 7)
    .message(2, type(1, new ProtobufWriter().int(1, 1)));
  const graph = new ProtobufWriter()
    .message(1, softmax)
    .message(1, best)
    .message(1, zipMap)
    .string(2, 'classifier')
    .message(11, value('input', type(1, probabilities)))
    .message(12, value('output_label', type(1, new ProtobufWriter().int(1, 7).message(2, shape(['rows', 1])))))
    .message(12, value('output_probability', type(4, new ProtobufWriter().message(1, type(5, map)))));
  return new ProtobufWriter()
    .int(1, IR_VERSION)
    .string(2, 'a test')
    .message(7, graph)
    .message(8, new ProtobufWriter().string(1, '').int(2, 17))
    .message(8, new ProtobufWriter().string(1, 'ai.onnx.ml').int(2, 3))
    .message(14, new ProtobufWriter().string(1, 'made').string(2, 'by hand'))
    .finish();
}

function node(operator: string, inputs: readonly string[], outputs: readonly string[]): ProtobufWriter {
  const writer = new ProtobufWriter();
  for (const input of inputs) writer.string(1, input);
  for (const output of outputs) writer.string(2, output);
  return writer.string(3, `${operator} node`).string(4, operator);
}

function labelsAttribute(labels: readonly (number | string)[]): ProtobufWriter {
  const areTexts = typeof labels[0] === 'string';
  const attribute = new ProtobufWriter().string(1, areTexts ? 'classlabels_strings' : 'classlabels_int64s');
  for (const label of labels) {
    if (typeof label === 'string') attribute.string(9, label);
    else attribute.int(8, label);
  }
  return attribute.int(20, areTexts ? ATTRIBUTE.strings : ATTRIBUTE.ints);
}

/** A `TypeProto` of the kind whose field has this number. */
function type(kind: number, body: ProtobufWriter): ProtobufWriter {
  return new ProtobufWriter().message(kind, body);
}

function value(name: string, itsType: ProtobufWriter): ProtobufWriter {
  return new ProtobufWriter().string(1, name).message(2, itsType);
}

function shape(dims: readonly (number | string)[]): ProtobufWriter {
  const writer = new ProtobufWriter();
  for (const dim of dims) {
    writer.message(1, typeof dim === 'number' ? new ProtobufWriter().int(1, dim) : new ProtobufWriter().string(2, dim));
  }
  return writer;
}

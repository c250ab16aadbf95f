import { ProtobufWriter } from './protobuf-writer.ts';

/** ONNX's numbers for element types. */
const ELEMENT_TYPES = { float32: 1, int64: 7, string: 8, bool: 9 } as const;
const IR_VERSION = 8;
const OPSET = 17;
/** ONNX's numbers for kinds of attributes. */
const ATTRIBUTE = { int: 2, graph: 5, ints: 7 } as const;

export type ElementType = keyof typeof ELEMENT_TYPES;
/** A string is a dimension that may vary. */
export type Dim = number | string;
type Attribute = number | readonly number[] | OnnxGraph;

/**
 * Builds an ONNX model without any dependency: enough for models that tests need and nobody trains. Every method gives
 * the name of the value that it adds, to be used as the input of another.
 *
 * @example
 * const graph = new OnnxGraph('double');
 * const x = graph.input('x', 'float32', ['batch', 1]);
 * graph.node('Mul', [x, graph.floats([2], [1])], { output: 'y' });
 * graph.output('y', 'float32', ['batch', 1]);
 * await writeFile('double.onnx', graph.toModel());
 */
export class OnnxGraph {
  readonly #name: string;
  readonly #nodes: ProtobufWriter[] = [];
  readonly #initializers: ProtobufWriter[] = [];
  readonly #inputs: ProtobufWriter[] = [];
  readonly #outputs: ProtobufWriter[] = [];
  #values = 0;

  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, type: ElementType, dims: readonly Dim[]): string {
    this.#inputs.push(valueInfo(name, type, dims));
    return name;
  }

  output(name: string, type: ElementType, dims: readonly Dim[]): void {
    this.#outputs.push(valueInfo(name, type, dims));
  }

  floats(values: ArrayLike<number>, dims: readonly number[]): string {
    return this.#constant('float32', dims, new Uint8Array(Float32Array.from(values).buffer));
  }

  ints(values: readonly number[], dims: readonly number[]): string {
    return this.#constant('int64', dims, new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  bool(value: boolean): string {
    return this.#constant('bool', [], Uint8Array.of(Number(value)));
  }

  node(
    operator: string,
    inputs: readonly string[],
    { output = this.#nextName(), ...attributes }: { output?: string } & Record<string, Attribute | string> = {},
  ): string {
    const node = new ProtobufWriter();
    for (const input of inputs) node.string(1, input);
    node.string(2, output).string(3, `${operator} of ${output}`).string(4, operator);
    for (const [name, value] of Object.entries(attributes)) node.message(5, attribute(name, value as Attribute));
    this.#nodes.push(node);
    return output;
  }

  /** Converts to another element type. */
  cast(value: string, type: ElementType, output = this.#nextName()): string {
    return this.node('Cast', [value], { to: ELEMENT_TYPES[type], output });
  }

  /** The bytes of a `.onnx` file. */
  toModel(): Uint8Array {
    const opset = new ProtobufWriter().string(1, '').int(2, OPSET);
    return new ProtobufWriter().int(1, IR_VERSION).message(8, opset).message(7, this.toProto()).finish();
  }

  /** The graph alone, for the body of a `Loop`. */
  toProto(): ProtobufWriter {
    const graph = new ProtobufWriter().string(2, this.#name);
    for (const node of this.#nodes) graph.message(1, node);
    for (const initializer of this.#initializers) graph.message(5, initializer);
    for (const input of this.#inputs) graph.message(11, input);
    for (const output of this.#outputs) graph.message(12, output);
    return graph;
  }

  #constant(type: ElementType, dims: readonly number[], data: Uint8Array): string {
    const name = this.#nextName();
    const tensor = new ProtobufWriter();
    for (const dim of dims) tensor.int(1, dim);
    this.#initializers.push(tensor.int(2, ELEMENT_TYPES[type]).string(8, name).bytes(9, data));
    return name;
  }

  /** With the graph's name, since a body sees the values of the graph around it. */
  #nextName(): string {
    return `${this.#name}/${this.#values++}`;
  }
}

function valueInfo(name: string, type: ElementType, dims: readonly Dim[]): ProtobufWriter {
  const shape = new ProtobufWriter();
  for (const dim of dims) {
    const dimension = new ProtobufWriter();
    shape.message(1, typeof dim === 'number' ? dimension.int(1, dim) : dimension.string(2, dim));
  }
  const tensorType = new ProtobufWriter().int(1, ELEMENT_TYPES[type]).message(2, shape);
  return new ProtobufWriter().string(1, name).message(2, new ProtobufWriter().message(1, tensorType));
}

function attribute(name: string, value: Attribute): ProtobufWriter {
  const proto = new ProtobufWriter().string(1, name);
  if (value instanceof OnnxGraph) return proto.message(6, value.toProto()).int(20, ATTRIBUTE.graph);
  if (typeof value === 'number') return proto.int(3, value).int(20, ATTRIBUTE.int);
  for (const item of value) proto.int(8, item);
  return proto.int(20, ATTRIBUTE.ints);
}

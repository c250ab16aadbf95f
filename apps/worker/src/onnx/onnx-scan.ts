import { ModelFileError } from './model-file-error.ts';
import {
  type ByteRange,
  LENGTH_DELIMITED,
  type ProtobufField,
  type ProtobufReader,
  VARINT,
} from './protobuf-reader.ts';

/** How much of a file is read before it is refused: what is kept of it lies in memory. */
export type OnnxLimits = {
  /** Operators, with those of subgraphs and functions. */
  maxNodes: number;
  /** Tensors, attributes and names. */
  maxValues: number;
  /** All names together. */
  maxTextBytes: number;
  /** How deep messages nest. Protobuf itself stops at 100. */
  maxDepth: number;
};

export const ONNX_LIMITS: OnnxLimits = {
  maxNodes: 200_000,
  maxValues: 4_000_000,
  maxTextBytes: 256 * 1024 * 1024,
  maxDepth: 100,
};

/** One reading of one file, and what is left of its limits. */
export class OnnxScan {
  readonly #reader: ProtobufReader;
  readonly #limits: OnnxLimits;
  #nodes = 0;
  #values = 0;
  #textBytes = 0;

  constructor(reader: ProtobufReader, limits: OnnxLimits = ONNX_LIMITS) {
    this.#reader = reader;
    this.#limits = limits;
  }

  /** The fields `wanted` of a message; the others are jumped over. */
  message(range: ByteRange, depth: number, wanted: readonly number[]): OnnxMessage {
    const { maxDepth } = this.#limits;
    if (depth > maxDepth) throw new ModelFileError(`It nests deeper than ${maxDepth} levels.`);
    return new OnnxMessage(this, range, wanted);
  }

  fields(range: ByteRange): Generator<ProtobufField> {
    return this.#reader.fields(range);
  }

  int(field: ProtobufField): number {
    return Number(this.#reader.int(field));
  }

  /** A list of numbers, however the file writes it: one field each, or packed. One beyond 2 ** 53 is given as text. */
  wholeNumbers(range: ByteRange, number: number): (number | string)[] {
    const found: (number | string)[] = [];
    const add = (value: bigint) => {
      this.countValue();
      found.push(Number.isSafeInteger(Number(value)) ? Number(value) : String(value));
    };
    for (const field of this.#reader.fields(range)) {
      if (field.number !== number) continue;
      if (field.wireType === VARINT) add(this.#reader.int(field));
      else if (field.wireType === LENGTH_DELIMITED)
        for (const value of this.#reader.packedInts(field.value)) add(value);
    }
    return found;
  }

  text(field: ProtobufField): string {
    const { maxTextBytes } = this.#limits;
    this.#textBytes += field.value.end - field.value.start;
    if (this.#textBytes > maxTextBytes) throw new ModelFileError(`Its names are longer than ${maxTextBytes} bytes.`);
    return this.#reader.text(field);
  }

  countNode(): void {
    const { maxNodes } = this.#limits;
    if (++this.#nodes > maxNodes)
      throw new ModelFileError(`It has more than ${maxNodes} nodes (ONQUEUE_MODEL_MAX_NODES).`);
  }

  countValue(): void {
    const { maxValues } = this.#limits;
    if (++this.#values > maxValues)
      throw new ModelFileError(`It has more than ${maxValues} tensors, attributes and names.`);
  }
}

/**
 * The fields that are asked for of one message, by their numbers. A field of another wire type is none, as in every
 * protobuf library. A message that comes twice where one belongs would be merged by them: it is refused, since no
 * exporter writes it and each reader of a file has to see the same.
 */
export class OnnxMessage {
  readonly #scan: OnnxScan;
  readonly #range: ByteRange;
  readonly #delimited = new Map<number, ProtobufField[]>();
  readonly #ints = new Map<number, ProtobufField>();

  constructor(scan: OnnxScan, range: ByteRange, wanted: readonly number[]) {
    this.#scan = scan;
    this.#range = range;
    for (const field of scan.fields(range)) {
      if (!wanted.includes(field.number)) continue;
      // Of numbers only the last one counts.
      if (field.wireType === VARINT) this.#ints.set(field.number, field);
      if (field.wireType !== LENGTH_DELIMITED) continue;
      scan.countValue();
      const same = this.#delimited.get(field.number);
      if (same) same.push(field);
      else this.#delimited.set(field.number, [field]);
    }
  }

  /** undefined when there is none. */
  int(number: number): number | undefined {
    const field = this.#ints.get(number);
    return field && this.#scan.int(field);
  }

  /** The last one, as in protobuf; empty when there is none. */
  text(number: number): string {
    const field = this.#delimited.get(number)?.at(-1);
    return field ? this.#scan.text(field) : '';
  }

  texts(number: number): string[] {
    return (this.#delimited.get(number) ?? []).map((field) => this.#scan.text(field));
  }

  children(number: number): ByteRange[] {
    return (this.#delimited.get(number) ?? []).map(({ value }) => value);
  }

  child(number: number): ByteRange | undefined {
    const [range, second] = this.children(number);
    if (second) {
      const at = `the message at byte ${this.#range.start}`;
      throw new ModelFileError(
        `Field ${number} of ${at} is there twice, at the bytes ${range?.start} and ${second.start}.`,
      );
    }
    return range;
  }
}

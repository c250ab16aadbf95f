import { ProtobufWriter } from '../../support/models/protobuf-writer.ts';

/** A model file taken apart, so that a field can be changed while all lengths around it stay right. */
export type TreeField = { number: number; start: number; end: number } & (
  | { wire: 'int'; value: bigint }
  | { wire: 'bytes'; value: Buffer }
  | { wire: 'message'; kind: Kind; fields: TreeField[] }
  | { wire: 'float'; value: number }
);

/** Which fields hold messages; what is not here is a number, a text or a payload. */
const MESSAGES = {
  model: { 7: 'graph', 8: 'opset', 14: 'entry', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 11: 'value', 12: 'value', 13: 'value' },
  function: { 7: 'node', 9: 'opset' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph' },
  tensor: { 13: 'entry' },
  value: { 2: 'type' },
  type: { 1: 'tensorType' },
  tensorType: { 2: 'shape' },
  shape: { 1: 'dim' },
  dim: {},
  opset: {},
  entry: {},
} as const satisfies Record<string, Record<number, string>>;
type Kind = keyof typeof MESSAGES;

/** `start` and `end` are where a field lies in the whole file. Only for files that are well formed. */
export function parseOnnxTree(file: Buffer, kind: Kind = 'model', start = 0, end = file.length): TreeField[] {
  const fields: TreeField[] = [];
  for (let position = start; position < end; ) {
    const at = position;
    const varint = () => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = file[position++] ?? 0;
        value |= BigInt(byte & 127) << shift;
        if (byte < 128) return value;
      }
    };
    const tag = Number(varint());
    const [number, wireType] = [tag >>> 3, tag & 7];
    if (wireType === 0) {
      const value = varint();
      fields.push({ number, start: at, end: position, wire: 'int', value });
    } else if (wireType === 5) {
      position += 4;
      fields.push({ number, start: at, end: position, wire: 'float', value: file.readFloatLE(position - 4) });
    } else if (wireType === 2) {
      const length = Number(varint());
      const from = position;
      position += length;
      const inner = (MESSAGES[kind] as Record<number, Kind>)[number];
      fields.push(
        inner
          ? {
              number,
              start: at,
              end: position,
              wire: 'message',
              kind: inner,
              fields: parseOnnxTree(file, inner, from, position),
            }
          : { number, start: at, end: position, wire: 'bytes', value: file.subarray(from, position) },
      );
    } else throw new Error(`The file has the wire type ${wireType} at ${at}.`);
  }
  return fields;
}

export function writeOnnxTree(fields: readonly TreeField[]): ProtobufWriter {
  const writer = new ProtobufWriter();
  for (const field of fields) {
    if (field.wire === 'int') writer.int(field.number, field.value);
    else if (field.wire === 'float') writer.float(field.number, field.value);
    else if (field.wire === 'bytes') writer.bytes(field.number, field.value);
    else writer.message(field.number, writeOnnxTree(field.fields));
  }
  return writer;
}

/** Every field with the list that it stands in, the outer ones first. */
export function fieldsOf(fields: TreeField[]): { field: TreeField; siblings: TreeField[] }[] {
  return fields.flatMap((field) => [
    { field, siblings: fields },
    ...(field.wire === 'message' ? fieldsOf(field.fields) : []),
  ]);
}

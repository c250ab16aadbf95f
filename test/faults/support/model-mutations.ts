import { fieldsOf, parseOnnxTree, type TreeField, writeOnnxTree } from './onnx-tree.ts';
import type { SeededRandom } from './seeded-random.ts';

/** A model file that mutations are made of. */
export type SoundModel = { name: string; format: 'onnx' | 'ort'; bytes: Buffer };

/** Makes broken files out of sound ones; the same random numbers make the same files. */
export class ModelMutator {
  readonly #random: SeededRandom;
  readonly #models: readonly SoundModel[];
  /** Where, in each file, something other than the numbers of a tensor stands. */
  readonly #structure: readonly (readonly number[])[];

  constructor({ random, models }: { random: SeededRandom; models: readonly SoundModel[] }) {
    this.#random = random;
    this.#models = models;
    this.#structure = models.map(({ format, bytes }) =>
      format === 'onnx' ? structuralOffsets(bytes) : [...bytes.keys()],
    );
  }

  /** Which model it was, and what was done to it. */
  next(): { model: SoundModel; mutation: string; bytes: Buffer } {
    const index = this.#random.between(0, this.#models.length - 1);
    const model = this.#models[index] as SoundModel;
    const [mutation, mutate] = this.#random.oneOf(Object.entries(MUTATIONS[model.format]));
    const offset = () => this.#random.oneOf(this.#structure[index] ?? []);
    const donor = this.#random.oneOf(this.#models).bytes;
    const bytes = mutate({ bytes: Buffer.from(model.bytes), random: this.#random, offset, donor });
    return { model, mutation, bytes };
  }
}

type Material = {
  /** A copy, to be changed. */
  bytes: Buffer;
  random: SeededRandom;
  /** Of a byte that is not one of a tensor's numbers. */
  offset: () => number;
  donor: Buffer;
};

type Mutations = Record<string, (material: Material) => Buffer>;

const OF_BYTES: Mutations = {
  'byte flips': ({ bytes, random, offset }) => {
    for (let count = random.between(1, 16); count > 0; count--) bytes[offset()] = random.between(0, 255);
    return bytes;
  },
  'one bit': ({ bytes, random, offset }) => {
    const at = offset();
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.between(0, 7));
    return bytes;
  },
  'flips of weights': ({ bytes, random }) => {
    for (let count = random.between(1, 64); count > 0; count--) {
      bytes[random.between(0, bytes.length - 1)] = random.oneOf([0, 127, 128, 255]);
    }
    return bytes;
  },
  truncation: ({ bytes, random, offset }) =>
    bytes.subarray(0, random.oneOf([offset(), random.between(0, bytes.length)])),
  splice: ({ bytes, random, offset, donor }) => {
    const from = random.between(0, donor.length - 1);
    const piece = donor.subarray(from, from + random.between(1, 400));
    const at = offset();
    const over = random.oneOf([0, piece.length]);
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + over)]);
  },
  hole: ({ bytes, random, offset }) => {
    const at = offset();
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.between(1, 200))]);
  },
  'number bomb': ({ bytes, random, offset }) => {
    const at = offset();
    const bomb = Buffer.alloc(random.between(1, 40), random.oneOf([0xff, 0x80]));
    return Buffer.concat([bytes.subarray(0, at), bomb, bytes.subarray(at + random.between(0, 2))]);
  },
};

/** The rest of the file stays well formed, so that these get further. */
const OF_FIELDS: Mutations = {
  'absurd length': ({ bytes, random }) => {
    const field = random.oneOf(fieldsOf(parseOnnxTree(bytes)).filter((each) => each.field.wire !== 'int')).field;
    const length = Buffer.from([...random.oneOf(ABSURD_LENGTHS)]);
    // After the tag, which is one byte for the fields up to 15.
    return Buffer.concat([bytes.subarray(0, field.start + 1), length, bytes.subarray(field.start + 2)]);
  },
  'absurd number': inTree(({ random, fields }) => {
    const ints = fields.flatMap(({ field }) => (field.wire === 'int' ? [field] : []));
    for (let count = random.between(1, 3); count > 0; count--) random.oneOf(ints).value = random.oneOf(ABSURD_NUMBERS);
  }),
  'absurd size': inTree(({ random, fields }) => {
    const dims = fields.flatMap(({ field }) => (field.wire === 'message' && isSized(field) ? [field] : []));
    const { fields: inner } = random.oneOf(dims);
    const size: TreeField = { number: 1, start: 0, end: 0, wire: 'int', value: random.oneOf(ABSURD_NUMBERS) };
    if (random.between(0, 1) === 0) inner.unshift(size);
    else
      inner.splice(0, inner.length, ...inner.map((each) => (each.wire === 'int' && each.number === 1 ? size : each)));
  }),
  'other text': inTree(({ random, fields }) => {
    const texts = fields.flatMap(({ field }) => (field.wire === 'bytes' && field.value.length < 200 ? [field] : []));
    const field = random.oneOf(texts);
    const long = Buffer.alloc(random.between(1000, 100_000), 'x');
    field.value = random.oneOf([random.oneOf(texts).value, Buffer.alloc(0), long, Buffer.from('../../etc/passwd\0')]);
  }),
  'other payload': inTree(({ random, fields }) => {
    const payloads = fields.flatMap(({ field }) => (field.wire === 'bytes' ? [field] : []));
    const field = random.oneOf(payloads);
    const { value } = field;
    field.value = random.oneOf([value.subarray(1), Buffer.concat([value, value]), random.oneOf(payloads).value]);
  }),
  'a field less': inTree(({ random, fields }) => {
    const { field, siblings } = random.oneOf(fields);
    siblings.splice(siblings.indexOf(field), 1);
  }),
  'a field twice': inTree(({ random, fields }) => {
    const { field, siblings } = random.oneOf(fields);
    siblings.splice(siblings.indexOf(field), 0, field);
  }),
  'a field elsewhere': inTree(({ random, fields }) => {
    const [from, to] = [random.oneOf(fields), random.oneOf(fields)];
    const copy = copyOf(from.field);
    // A message in the place of another is read as one of that kind.
    if (from.field.wire === 'message' && to.field.wire === 'message')
      to.siblings.push({ ...copy, number: to.field.number });
    else to.siblings.splice(to.siblings.indexOf(to.field), 1, copy);
  }),
  'nested operator': inTree(({ random, fields, root }) => {
    const nodes = fields.flatMap(({ field }) => (field.wire === 'message' && field.kind === 'node' ? [field] : []));
    const graph = root.find(({ wire, number }) => wire === 'message' && number === 7);
    if (graph?.wire !== 'message') return;
    const name: TreeField = { number: 1, start: 0, end: 0, wire: 'bytes', value: Buffer.from('body') };
    const isGraph: TreeField = { number: 20, start: 0, end: 0, wire: 'int', value: 5n };
    const place = { start: 0, end: 0 };
    const body: TreeField = { ...place, number: 6, wire: 'message', kind: 'graph', fields: graph.fields.map(copyOf) };
    random.oneOf(nodes).fields.push({
      ...place,
      number: 5,
      wire: 'message',
      kind: 'attribute',
      fields: [name, body, isGraph],
    });
  }),
};

/** Of a flatbuffer we know the bytes only. */
const MUTATIONS: Record<SoundModel['format'], Mutations> = { onnx: { ...OF_BYTES, ...OF_FIELDS }, ort: OF_BYTES };

type TreeMaterial = {
  random: SeededRandom;
  root: TreeField[];
  fields: { field: TreeField; siblings: TreeField[] }[];
};

function inTree(mutate: (material: TreeMaterial) => void) {
  return ({ bytes, random }: Material): Buffer => {
    const root = parseOnnxTree(bytes);
    mutate({ random, root, fields: fieldsOf(root) });
    return Buffer.from(writeOnnxTree(root).finish());
  };
}

/** A field that may come to stand inside of the original: the file would else have no end. */
function copyOf(field: TreeField): TreeField {
  return field.wire === 'message' ? { ...field, fields: field.fields.map(copyOf) } : { ...field };
}

/** A tensor, or a dimension of a shape: field 1 is how large it is. */
function isSized({ kind }: TreeField & { wire: 'message' }): boolean {
  return kind === 'dim' || kind === 'tensor';
}

const ABSURD_NUMBERS = [
  0n,
  1n,
  2n,
  255n,
  1000n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 40n,
  2n ** 62n,
  2n ** 63n - 1n,
  -1n,
  -(2n ** 63n),
];

const ABSURD_LENGTHS = [
  [0x00],
  [0x7f],
  [0xff, 0x7f],
  [0xff, 0xff, 0xff, 0xff, 0x07],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/** Tags, lengths, names and numbers; payloads only with their beginning. */
function structuralOffsets(bytes: Buffer): number[] {
  const offsets: number[] = [];
  const isPayload = new Uint8Array(bytes.length);
  for (const { field } of fieldsOf(parseOnnxTree(bytes))) {
    if (field.wire === 'bytes' && field.value.length > 64)
      isPayload.fill(1, field.end - field.value.length + 8, field.end);
  }
  for (let offset = 0; offset < bytes.length; offset++) if (isPayload[offset] === 0) offsets.push(offset);
  return offsets;
}

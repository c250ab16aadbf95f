import { elementTypeName } from './element-type.ts';
import { ModelFileError } from './model-file-error.ts';
import type { OnnxScan } from './onnx-scan.ts';
import type { ByteRange } from './protobuf-reader.ts';

/** A fixed size, the name of one that varies, or undefined where the file says neither. */
export type OnnxDim = number | string | undefined;

/**
 * The type of a value. Of what holds tensors (a sequence, a map, an optional) `elemType` and `dims` are those of the
 * tensors at its bottom, and `of` is what it holds: a ZipMap gives a `sequence` of a `map` of float32.
 */
export type OnnxType = {
  type: 'tensor' | 'sparse_tensor' | 'sequence' | 'map' | 'optional' | 'opaque';
  /** The dtype, as ONNX Runtime names it. */
  elemType: string;
  /** undefined: not even the rank is known. A scalar has none: `[]`. */
  dims: readonly OnnxDim[] | undefined;
  /** The dtype of a map's keys. */
  keyType?: string;
  of?: OnnxType;
};

export type OnnxValue = OnnxType & { name: string };

/** Reads a `ValueInfoProto`. */
export function readValue(scan: OnnxScan, range: ByteRange, depth: number): OnnxValue {
  const message = scan.message(range, depth, [1, 2]);
  return { name: message.text(1), ...readType(scan, message.child(2), depth + 1) };
}

const TENSOR = 1;
const SEQUENCE = 4;
const MAP = 5;
const OPAQUE = 7;
const SPARSE_TENSOR = 8;
const OPTIONAL = 9;
const KINDS = [TENSOR, SEQUENCE, MAP, OPAQUE, SPARSE_TENSOR, OPTIONAL];

const UNTYPED: OnnxType = { type: 'tensor', elemType: elementTypeName(0), dims: undefined };

/** A `TypeProto`: one of several messages. */
function readType(scan: OnnxScan, range: ByteRange | undefined, depth: number): OnnxType {
  if (!range) return UNTYPED;
  const message = scan.message(range, depth, KINDS);
  const kinds = KINDS.filter((number) => message.child(number));
  if (kinds.length > 1) throw new ModelFileError(`The type at byte ${range.start} is several types at once.`);
  const [kind] = kinds;
  const inner = kind === undefined ? undefined : message.child(kind);
  if (!inner) return UNTYPED;
  const body = scan.message(inner, depth + 1, [1, 2]);
  const holding = (type: OnnxType['type'], element: number): OnnxType => {
    const of = readType(scan, body.child(element), depth + 2);
    return { type, elemType: of.elemType, dims: of.dims, of };
  };
  if (kind === SEQUENCE) return holding('sequence', 1);
  if (kind === OPTIONAL) return holding('optional', 1);
  if (kind === MAP) return { ...holding('map', 2), keyType: elementTypeName(body.int(1) ?? 0) };
  if (kind === OPAQUE) return { ...UNTYPED, type: 'opaque' };
  return {
    type: kind === SPARSE_TENSOR ? 'sparse_tensor' : 'tensor',
    elemType: elementTypeName(body.int(1) ?? 0),
    dims: readShape(scan, body.child(2), depth + 2),
  };
}

/** A `TensorShapeProto`. */
function readShape(scan: OnnxScan, range: ByteRange | undefined, depth: number): OnnxDim[] | undefined {
  if (!range) return undefined;
  const dims = scan.message(range, depth, [1]).children(1);
  return dims.map((dim) => {
    const message = scan.message(dim, depth + 1, [1, 2]);
    const size = message.int(1);
    if (size === undefined) return message.text(2) || undefined;
    return size < 0 ? undefined : size;
  });
}

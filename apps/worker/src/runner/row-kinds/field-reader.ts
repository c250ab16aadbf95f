import { type CategoryField, elementFault, fieldWidth, type TabularField, type TensorSpec } from '@onqueue/shared';
import { ModelLoadError } from '../model-load-error.ts';

/** From what a row has for a field to what its tensor holds. */
export type FieldReader = {
  readonly name: string;
  /** How many elements of the tensor the field takes; more than one: all 0 but the one at the position that is read. */
  readonly width: number;
  /** Undefined when the value is none that the tensor can hold. */
  read(value: unknown): number | string | undefined;
  /** Of a value that cannot be read, after the name of the field. */
  problemOf(value: unknown): string;
};

/** @throws ModelLoadError when the field cannot fill a tensor of this type. */
export function fieldReader(field: TabularField, dtype: TensorSpec['dtype'], input: string): FieldReader {
  if (!TENSORS_OF[field.type].includes(dtype)) {
    throw new ModelLoadError(`Field "${field.name}" is of type ${field.type}, input "${input}" of ${dtype}.`);
  }
  const readValue = valueReader(field);
  const [missing, nothing] = [standIn(field, field.default), standIn(field, field.fill)];
  // A float32 may be NaN here, which no row may say.
  const fits = (value: number | string) => !INTEGERS.includes(dtype) || elementFault(value, dtype) === undefined;
  for (const value of [missing, nothing]) {
    if (value !== undefined && !fits(value)) {
      throw new ModelLoadError(`Field "${field.name}" stands for ${value} at times, input "${input}" is of ${dtype}.`);
    }
  }
  return {
    name: field.name,
    width: fieldWidth(field),
    read(value) {
      if (value === undefined) return missing;
      if (value === null) return nothing;
      const element = readValue(value);
      return element === undefined || fits(element) ? element : undefined;
    },
    problemOf(value) {
      if (value === undefined) return 'is missing';
      if (value === null) return 'is null';
      if (field.type === 'category' && typeof value === 'string') return 'is none of its categories';
      const isWhole = field.type === 'integer' && INTEGERS.includes(dtype);
      return isWhole ? `is not an integer of ${dtype}` : `is not ${VALUE_NAMES[field.type]}`;
    },
  };
}

const FLOATS: readonly TensorSpec['dtype'][] = ['float32', 'float64'];
const INTEGERS: readonly TensorSpec['dtype'][] = [
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
];

const TENSORS_OF: Record<TabularField['type'], readonly TensorSpec['dtype'][]> = {
  number: FLOATS,
  integer: [...FLOATS, ...INTEGERS],
  boolean: [...FLOATS, ...INTEGERS, 'bool'],
  category: [...FLOATS, ...INTEGERS],
  string: ['string'],
};

const VALUE_NAMES: Record<TabularField['type'], string> = {
  number: 'a number that is finite in float32',
  integer: 'an integer',
  boolean: 'true or false',
  category: 'a string',
  string: 'a string',
};

function valueReader(field: TabularField): FieldReader['read'] {
  if (field.type === 'category') return categoryReader(field);
  return (value) => {
    if (field.type === 'string') return typeof value === 'string' ? value : undefined;
    if (field.type === 'boolean') return typeof value === 'boolean' ? Number(value) : undefined;
    if (typeof value !== 'number') return undefined;
    const isFit = field.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(Math.fround(value));
    return isFit ? value : undefined;
  };
}

function categoryReader(field: CategoryField): FieldReader['read'] {
  const positions = new Map(field.categories.map((category, position) => [category, position]));
  const unknown = standIn(field, field.unknown);
  return (value) => (typeof value === 'string' ? (positions.get(value) ?? unknown) : undefined);
}

/** What the manifest has for a value that is not there, as the tensor holds it. */
function standIn(field: TabularField, value: string | number | boolean | undefined): number | string | undefined {
  if (field.type === 'category' && typeof value === 'string') return field.categories.indexOf(value);
  if (field.type === 'string' || typeof value === 'number') return value as string | number | undefined;
  if (value === 'NaN') return Number.NaN;
  return value === undefined ? undefined : Number(value);
}

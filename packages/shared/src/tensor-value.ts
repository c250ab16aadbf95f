import { z } from 'zod';
import type { TensorDtype } from './tensor-spec.ts';

const MAX_STRING_LENGTH = 10_000;
/** The largest finite float32: a larger number would reach the model as infinity. */
export const FLOAT32_MAX = 3.4028234663852886e38;
const FLOAT16_MAX = 65_504;
/** What JSON has no numbers for, in rows and in answers. */
const NON_FINITE_NAMES = ['NaN', 'Infinity', '-Infinity'];

/** What one element of a tensor may be in JSON. */
interface ElementRule {
  /** Finishes a sentence that begins with the tensor's name; undefined for a value that the dtype holds. */
  fault(value: unknown): string | undefined;
  schema(): z.ZodType;
}

const RULES: Record<TensorDtype, ElementRule> = {
  float32: floatRule('float32', FLOAT32_MAX),
  float64: floatRule('float64', Number.MAX_VALUE),
  float16: floatRule('float16', FLOAT16_MAX),
  int8: integerRule(-(2 ** 7), 2 ** 7 - 1),
  int16: integerRule(-(2 ** 15), 2 ** 15 - 1),
  int32: integerRule(-(2 ** 31), 2 ** 31 - 1),
  uint8: integerRule(0, 2 ** 8 - 1),
  uint16: integerRule(0, 2 ** 16 - 1),
  uint32: integerRule(0, 2 ** 32 - 1),
  int64: wideIntegerRule(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: wideIntegerRule(0n, 2n ** 64n - 1n),
  bool: {
    fault: (value) => (typeof value === 'boolean' ? undefined : 'is not true or false'),
    schema: () => z.boolean(),
  },
  string: {
    fault: (value) =>
      typeof value === 'string' && value.length <= MAX_STRING_LENGTH
        ? undefined
        : `is not a string of at most ${MAX_STRING_LENGTH} characters`,
    schema: () => z.string().max(MAX_STRING_LENGTH),
  },
};

/** What is wrong with one element, if anything is. */
export function elementFault(value: unknown, dtype: TensorDtype, allowsNonFinite = false): string | undefined {
  if (allowsNonFinite && isNonFiniteName(value)) return undefined;
  return RULES[dtype].fault(value);
}

export function elementSchema(dtype: TensorDtype, allowsNonFinite = false): z.ZodType {
  const schema = RULES[dtype].schema();
  return allowsNonFinite ? z.union([schema, z.enum(NON_FINITE_NAMES)]) : schema;
}

export function isFloatDtype(dtype: TensorDtype): boolean {
  return dtype === 'float32' || dtype === 'float64' || dtype === 'float16';
}

function isNonFiniteName(value: unknown): boolean {
  return typeof value === 'string' && NON_FINITE_NAMES.includes(value);
}

function floatRule(name: string, max: number): ElementRule {
  return {
    // A comparison with NaN is false.
    fault: (value) =>
      typeof value === 'number' && Math.abs(value) <= max ? undefined : `is not a number that is finite in ${name}`,
    schema: () => z.number().min(-max).max(max),
  };
}

function integerRule(min: number, max: number): ElementRule {
  return {
    fault: (value) =>
      Number.isInteger(value) && (value as number) >= min && (value as number) <= max
        ? undefined
        : `is not an integer from ${min} to ${max}`,
    schema: () => z.number().int().min(min).max(max),
  };
}

/** JSON numbers are exact up to 2^53; what is larger comes as a string of digits. */
function wideIntegerRule(min: bigint, max: bigint): ElementRule {
  const isWithin = (value: bigint) => value >= min && value <= max;
  return {
    fault(value) {
      if (typeof value === 'number') {
        if (Number.isSafeInteger(value) && isWithin(BigInt(value))) return undefined;
        return Number.isInteger(value) && !Number.isSafeInteger(value)
          ? 'is not exact as a JSON number: write integers beyond 2^53 as strings of digits'
          : `is not an integer from ${min} to ${max}`;
      }
      const isFit = typeof value === 'string' && DIGITS.test(value) && isWithin(BigInt(value));
      return isFit ? undefined : `is not an integer from ${min} to ${max}`;
    },
    schema: () =>
      z.union([
        min < 0n ? z.number().int() : z.number().int().nonnegative(),
        z.string().regex(DIGITS).describe('An integer beyond 2^53, as its digits.'),
      ]),
  };
}

/** No more digits than 64 bits have, so that a long string costs no conversion. */
const DIGITS = /^-?\d{1,20}$/;

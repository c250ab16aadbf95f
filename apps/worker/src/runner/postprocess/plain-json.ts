/** A number that JSON does not have. */
export class NonFiniteNumberError extends Error {
  override readonly name = 'NonFiniteNumberError';
}

const MAX_DEPTH = 32;

/**
 * A value as JSON has it: typed arrays as arrays, whole numbers of 64 bits as numbers or, where these cannot hold them, as
 * strings; members without a value are left out. @throws NonFiniteNumberError; an Error for what JSON cannot hold
 */
export function plainJson(value: unknown, depth = 0): unknown {
  if (depth > MAX_DEPTH) throw new Error(`The answer is nested more than ${MAX_DEPTH} deep.`);
  if (typeof value === 'number' && !Number.isFinite(value)) throw new NonFiniteNumberError(String(value));
  if (typeof value === 'bigint') return plainInteger(value);
  if (typeof value === 'function' || typeof value === 'symbol') throw new Error(`A ${typeof value} is no answer.`);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((element) => plainJson(element, depth + 1) ?? null);
  if (ArrayBuffer.isView(value)) {
    if (value instanceof DataView) throw new Error('A DataView is no answer.');
    return Array.from(value as unknown as ArrayLike<number | bigint>, (element) => plainJson(element, depth + 1));
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([key, member]) => [key, plainJson(member, depth + 1)]));
}

function plainInteger(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

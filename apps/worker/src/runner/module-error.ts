import { type RowErrorCode, RowFailure } from '@onqueue/shared';

const MAX_DETAIL = 500;

/** What the code of a model threw, or made of a row, as the failure of that row. It may say where: `pointer`, into the row. */
export function moduleFailure(code: RowErrorCode, cause: unknown): RowFailure {
  const detail = cause instanceof Error ? cause.message : String(cause);
  const { pointer } = (typeof cause === 'object' && cause !== null ? cause : {}) as { pointer?: unknown };
  return new RowFailure(
    code,
    detail.slice(0, MAX_DETAIL) || 'The code of the model threw an error without a message.',
    {
      cause,
      ...(typeof pointer === 'string' ? { pointer: pointer.slice(0, MAX_DETAIL) } : {}),
    },
  );
}

/** @throws RowFailure of a promise: nothing would wait for it. */
export function synchronous(value: unknown, name: string): unknown {
  if (typeof (value as { then?: unknown } | null | undefined)?.then !== 'function') return value;
  // Nobody else handles its rejection, which would end the process.
  (value as Promise<unknown>).then(undefined, () => undefined);
  throw new RowFailure('model_code_failed', `"${name}" of the model gave a promise; it has to be synchronous.`);
}

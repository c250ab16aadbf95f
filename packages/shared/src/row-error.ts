import type { RowError } from './row-result.ts';

/**
 * Why a row can fail after its job was accepted. What follows from it is decided here and nowhere else.
 *
 * `retryable`: whether another try may go better. Final errors are the row's own and would recur.
 *
 * `fault`: who has to be mended. A `row` that is bad is refused by any model. A `model` has no answer to a row that is good as
 * far as anybody can tell: that speaks against the model, and something else may answer in its place. `none`: nobody waits
 * for the row any more.
 */
export const ROW_ERRORS = {
  invalid_image: { retryable: false, fault: 'row', title: 'The image cannot be decoded.' },
  image_too_large: {
    retryable: false,
    fault: 'row',
    title: 'The image has more pixels or bytes than the model accepts.',
  },
  unsupported_image_format: {
    retryable: false,
    fault: 'row',
    title: 'The image is in a format that the model does not accept.',
  },
  invalid_row: {
    retryable: false,
    fault: 'row',
    title: 'The row cannot be turned into the tensors that the model needs.',
  },
  text_too_long: { retryable: false, fault: 'row', title: 'The text has more tokens than the model takes.' },
  model_code_failed: {
    retryable: false,
    fault: 'model',
    title:
      'The code that comes with the model failed on this row, or made something of it that is no tensor or no answer.',
  },
  non_finite_output: { retryable: false, fault: 'model', title: 'The model answered NaN or infinity for this row.' },
  output_too_large: {
    retryable: false,
    fault: 'model',
    title: 'The answer of the model to this row has more values than may be kept.',
  },
  inference_failed: { retryable: false, fault: 'row', title: 'The model refused this row.' },
  out_of_memory: {
    retryable: true,
    fault: 'model',
    title: 'The model needed more memory for this row than it could get.',
  },
  runner_crashed: {
    retryable: true,
    fault: 'model',
    title: 'The process that runs the model died while it held this row.',
  },
  runner_timeout: {
    retryable: true,
    fault: 'model',
    title: 'The model did not answer within the deadline of a batch.',
  },
  result_lost: {
    retryable: false,
    fault: 'none',
    title: 'The result was kept in the blob store, and is not there any more or is not what was stored.',
  },
  canceled: { retryable: false, fault: 'none', title: 'The run of the job ended before the row did.' },
  model_unavailable: {
    retryable: true,
    fault: 'model',
    title: 'The model could not be loaded, fails on rows that it is known to answer, or has failed too often of late.',
  },
  version_gone: {
    retryable: false,
    fault: 'model',
    title: 'The version that the job was accepted for has been unloaded or removed.',
  },
} as const satisfies Record<string, { retryable: boolean; fault: 'row' | 'model' | 'none'; title: string }>;

export type RowErrorCode = keyof typeof ROW_ERRORS;

/** Whether a row that failed so may be tried again; no for a code of another version. */
export function isRetryableCode(code: string): boolean {
  return Object.hasOwn(ROW_ERRORS, code) && ROW_ERRORS[code as RowErrorCode].retryable;
}

/** Whether the model is to be mended when a row fails so. */
export function isFaultOfModel(code: string): boolean {
  return Object.hasOwn(ROW_ERRORS, code) && ROW_ERRORS[code as RowErrorCode].fault === 'model';
}

/** Whether equal rows will always fail so: the row is bad, and no try goes better. */
export function isFinalFaultOfRow(code: string): boolean {
  if (!Object.hasOwn(ROW_ERRORS, code)) return false;
  const { retryable, fault } = ROW_ERRORS[code as RowErrorCode];
  return fault === 'row' && !retryable;
}

/** A row's error as an exception: thrown by preprocessing, postprocessing and runners, turned into the row's result. */
export class RowFailure extends Error {
  readonly code: RowErrorCode;
  readonly pointer: string | undefined;

  constructor(code: RowErrorCode, detail: string, options: { pointer?: string; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RowFailure';
    this.code = code;
    this.pointer = options.pointer;
  }

  get isRetryable(): boolean {
    return ROW_ERRORS[this.code].retryable;
  }

  toRowError(): RowError {
    return { code: this.code, detail: this.message, ...(this.pointer === undefined ? {} : { pointer: this.pointer }) };
  }
}

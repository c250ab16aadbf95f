import type { RowError } from './row-result.ts';

/**
 * Why a row can fail after its job was accepted. `retryable` is decided here and nowhere else: final errors are the
 * row's own fault and would recur, retryable ones are the platform's.
 */
export const ROW_ERRORS = {
  invalid_image: { retryable: false, title: 'The image cannot be decoded.' },
  image_too_large: { retryable: false, title: 'The image has more pixels or bytes than the model accepts.' },
  unsupported_image_format: { retryable: false, title: 'The image is in a format that the model does not accept.' },
  invalid_row: { retryable: false, title: 'The row cannot be turned into the tensors that the model needs.' },
  non_finite_output: { retryable: false, title: 'The model answered NaN or infinity for this row.' },
  inference_failed: { retryable: false, title: 'The model refused this row.' },
  out_of_memory: { retryable: true, title: 'The model needed more memory for this row than it could get.' },
  runner_crashed: { retryable: true, title: 'The process that runs the model died while it held this row.' },
  runner_timeout: { retryable: true, title: 'The model did not answer within the deadline of a batch.' },
  canceled: { retryable: false, title: 'The run of the job ended before the row did.' },
  model_unavailable: {
    retryable: true,
    title: 'The model could not be loaded, or fails on rows that it is known to answer.',
  },
} as const satisfies Record<string, { retryable: boolean; title: string }>;

export type RowErrorCode = keyof typeof ROW_ERRORS;

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

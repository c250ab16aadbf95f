import type { JobState } from './job-state.ts';

/**
 * What a job's `error` can say beside the codes of its rows (row-error.ts), and the state in which it ends. The scripts in
 * redis/scripts write the first three.
 */
export const JOB_ERRORS = {
  expired: { state: 'expired', title: 'No worker started the job within its `expires_in`.' },
  timeout: { state: 'failed', title: 'The run did not end within its `timeout`.' },
  canceled: { state: 'canceled', title: 'The job was canceled by `POST /jobs/{id}/cancel`, or by its `Cancel-After`.' },
  input_lost: { state: 'failed', title: 'The rows were kept in the blob store, and are not there any more.' },
  input_unreadable: {
    state: 'failed',
    title: 'The blob store that keeps the rows did not answer, at the last attempt. `retry` may mend it.',
  },
  internal_error: {
    state: 'failed',
    title: 'Something broke on our side, at the last attempt. The log line with the same `request_id` says more.',
  },
} as const satisfies Record<string, { state: JobState; title: string }>;

export type JobErrorCode = keyof typeof JOB_ERRORS;

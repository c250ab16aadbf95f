import type { JobRequest, JobRequestRecord, PerServiceClass, ProblemError } from '@onqueue/shared';
import { invalidRequest } from './http/validation.ts';

export interface RequestLimits {
  maxRetentionS: number;
  /** Ahead of now. */
  maxDelayS: number;
  serviceSloS: PerServiceClass;
  servicePrices: PerServiceClass;
}

/**
 * What is kept of a request beside its rows; nothing for what it does not say, since there is one of these for each job.
 * @throws Problem invalid_request for what is more than this server allows.
 */
export function requestRecordOf(body: JobRequest, limits: RequestLimits): Omit<JobRequestRecord, 'request_id'> {
  assertWithin(body, limits);
  const { service_class: name } = body;
  return {
    on_row_error: body.on_row_error,
    ...withoutUndefined({
      metadata: body.metadata,
      webhook: body.webhook,
      webhook_events: body.webhook_events,
      timeout_s: body.timeout,
      expires_in_s: body.expires_in,
      delay_s: body.delay || undefined,
      run_at_ms: body.run_at === undefined ? undefined : Date.parse(body.run_at),
      priority: body.priority || undefined,
      retries: body.retries,
      retention_s: body.retention,
      service: name && { class: name, slo_s: limits.serviceSloS[name], price_factor: limits.servicePrices[name] },
    }),
  };
}

function assertWithin(body: JobRequest, { maxRetentionS, maxDelayS }: RequestLimits): void {
  const aheadS = body.run_at === undefined ? 0 : (Date.parse(body.run_at) - Date.now()) / 1000;
  const errors: ProblemError[] = [
    ...beyond('/retention', body.retention, maxRetentionS, 'ONQUEUE_MAX_RETENTION_S'),
    ...beyond('/delay', body.delay, maxDelayS, 'ONQUEUE_MAX_DELAY_S'),
    ...beyond('/run_at', aheadS, maxDelayS, 'ONQUEUE_MAX_DELAY_S'),
  ];
  if (errors.length > 0) throw invalidRequest('The job', errors);
}

function beyond(pointer: string, seconds: number | undefined, maxS: number, setting: string): ProblemError[] {
  if (seconds === undefined || seconds <= maxS) return [];
  return [{ pointer, detail: `at most ${maxS} s (${setting})` }];
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}

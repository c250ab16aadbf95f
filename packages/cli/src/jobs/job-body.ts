import type { Row } from '../models/option-values.ts';

/** What `jobs submit` can say of a job, as commander parses it. */
export interface JobBodyOptions {
  model: string;
  version?: string;
  lane?: string;
  serviceClass?: string;
  priority?: number;
  delay?: number;
  runAt?: string;
  timeout?: number;
  expiresIn?: number;
  retries?: number;
  retention?: number;
  onRowError?: string;
  webhook?: string;
  metadata?: Record<string, string>;
}

/** The body of `POST /jobs`. The API checks it; what is not said is left out. */
export function jobBody(options: JobBodyOptions, rows: readonly Row[]): Record<string, unknown> {
  const body = {
    model: options.model,
    version: options.version,
    inputs: rows,
    lane: options.lane,
    service_class: options.serviceClass,
    priority: options.priority,
    delay: options.delay,
    run_at: options.runAt,
    timeout: options.timeout,
    expires_in: options.expiresIn,
    retries: options.retries,
    retention: options.retention,
    on_row_error: options.onRowError,
    webhook: options.webhook,
    metadata: options.metadata,
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

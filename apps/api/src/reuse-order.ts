import {
  MAX_FLIGHT_ROWS,
  MAX_REUSED_ROWS,
  type ModelDescriptor,
  type NewJob,
  type ReuseOrder,
  resultKey,
  resultSource,
  sourceId,
} from '@onqueue/shared';

/**
 * How a job may be answered without being computed; undefined where the model does not want it, where the rows are too many, and
 * where the job is for later: what is kept now may be too old then.
 */
export function reuseOrder(
  { tenant, inputs, request }: Pick<NewJob, 'tenant' | 'inputs' | 'request'>,
  descriptor: ModelDescriptor,
  leaseMs: number,
): ReuseOrder | undefined {
  const { cache } = descriptor;
  if (!cache || inputs.length > MAX_REUSED_ROWS) return undefined;
  if (request.delay_s !== undefined || request.run_at_ms !== undefined) return undefined;
  const source = resultSource(descriptor);
  const isShared = cache.single_flight && inputs.length <= MAX_FLIGHT_ROWS;
  return {
    source: sourceId(source),
    keys: inputs.map((row) => resultKey(source, tenant, row)),
    leaseMs: isShared ? leaseMs : undefined,
  };
}

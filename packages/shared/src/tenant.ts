import { z } from 'zod';

/** Who owns a job; part of every key of a job. Without API keys everybody is this one, and it is always there. */
export const DEFAULT_TENANT = 'default';

/** Stands in keys of Redis, beside colons and blanks, which it may not hold. */
export const tenantId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,39}$/, '1-40 of a-z, 0-9, _ and -, the first one a letter or a digit');

/** Shares are ratios; a weight of 1,000 beside one of 0.001 is as good as a priority. */
export const tenantWeight = z.number().min(0.001).max(1000);

const count = z.number().int().min(1).max(1_000_000_000_000);

/** How much a tenant may do; what is not named has no limit of its own. */
export const tenantQuotas = z.strictObject({
  jobs_per_day: count.optional().describe('Jobs that are accepted in a day (UTC).'),
  rows_per_day: count.optional().describe('Rows of jobs that are accepted in a day (UTC).'),
  max_concurrent_jobs: count.optional().describe('Jobs that have been accepted and have not ended.'),
  max_queued_rows: count.optional().describe('Rows of jobs that have been accepted and have not ended.'),
});
export type TenantQuotas = z.infer<typeof tenantQuotas>;

/** How much a tenant may keep; what is not named is as configured for everybody. */
export const tenantStorage = z.strictObject({
  max_files: z.number().int().min(1).max(100_000).optional().describe('In place of `ONQUEUE_MAX_FILES`.'),
  max_files_bytes: count.optional().describe('In place of `ONQUEUE_MAX_FILES_BYTES`.'),
});
export type TenantStorage = z.infer<typeof tenantStorage>;

/** What an operator says of a tenant. */
export const tenantSettings = z.strictObject({
  name: z.string().min(1).max(200).describe('For people.'),
  weight: tenantWeight.describe('Its share of a queue in which others wait too, in relation to theirs.'),
  quotas: tenantQuotas,
  storage: tenantStorage,
  retention_s: z
    .number()
    .min(1)
    .max(31_536_000)
    .nullable()
    .describe('Seconds that its jobs are kept after their end, unless a job says so itself; null: as configured.'),
});
export type TenantSettings = z.infer<typeof tenantSettings>;

/** A tenant as it is stored. */
export const tenant = z.object({
  schema_version: z.literal(1),
  id: tenantId,
  ...tenantSettings.shape,
  created_ms: z.number().int(),
  updated_ms: z.number().int(),
});
export type Tenant = z.infer<typeof tenant>;

/** What a tenant is of whom nothing else was said. */
export const TENANT_DEFAULTS = {
  weight: 1,
  quotas: {},
  storage: {},
  retention_s: null,
} as const satisfies Omit<TenantSettings, 'name'>;

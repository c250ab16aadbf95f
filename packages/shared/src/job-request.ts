import { z } from 'zod';
import { boundedObject, MAX_FAULTS } from './bounded-object.ts';
import { jobEventType } from './events.ts';
import { metadata, onRowError } from './job.ts';
import { lane } from './lane.ts';
import { serviceClass } from './service-class.ts';

/** A row, before the model's own schema has looked at it. */
type Row = Record<string, unknown>;
const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value);
const NO_ROW = 'a row is an object';
const row = z.custom<Row>(isRow, NO_ROW);

/** An issue is made for the first faults only: a body may hold half a million. */
const rows = z
  .array(z.unknown())
  .min(1)
  .superRefine((values, context) => {
    let faults = 0;
    for (const [index, value] of values.entries()) {
      if (isRow(value)) continue;
      context.addIssue({ code: 'custom', path: [index], message: NO_ROW });
      if (++faults === MAX_FAULTS) return;
    }
  })
  .transform((values) => values as Row[]);

const MAX_METADATA_KEYS = 50;

/** Up to a week; a tenth of a second at least, since deadlines are looked at a few times a second. */
const seconds = z.number().min(0.1).max(604_800);

/** Steps up and down; a tenant's jobs of one lane are fed in the order of these. */
const MAX_PRIORITY = 5;
const MAX_RETRIES = 20;

const envelope = z
  .strictObject({
    model: z.string().min(1).max(64).describe('The name of a model; `GET /models` lists them.'),
    version: z.string().min(1).max(64).optional().describe('A version of it; the newest one when left out.'),
    inputs: rows.optional().describe('The rows to score.'),
    input: row.optional().describe('Short for `inputs` with one row.'),
    input_file: z
      .string()
      .max(64)
      .optional()
      .describe('The id of a file that holds the rows, as a JSON array or as NDJSON (a row a line).'),
    on_row_error: onRowError
      .default('fail')
      .describe('`fail`: one failed row fails the job. `continue`: the job succeeds and counts the rows that failed.'),
    service_class: serviceClass
      .optional()
      .describe(
        'Bundles lane, priority, linger, a target for the time to the end, and a price factor. `lane` and `priority` go before it.',
      ),
    lane: lane
      .optional()
      .describe(
        '`bulk` jobs give way to `interactive` ones. That of the service class when left out, else `interactive`.',
      ),
    priority: z
      .number()
      .int()
      .min(-MAX_PRIORITY)
      .max(MAX_PRIORITY)
      .optional()
      .describe(
        'Among your waiting jobs of a model and lane those of a higher priority go first; 0 when left out. It changes nothing between tenants, nor for jobs that are next already.',
      ),
    delay: z.number().min(0).optional().describe('Seconds before the job may be started. Not together with `run_at`.'),
    run_at: z.iso
      .datetime({ offset: true })
      .optional()
      .describe('When the job may be started, RFC 3339. Not together with `delay`. A time that has passed: at once.'),
    retries: z
      .number()
      .int()
      .min(0)
      .max(MAX_RETRIES)
      .optional()
      .describe('How often the job is tried again after a failure that may pass, in place of what is configured.'),
    retention: z
      .number()
      .min(1)
      .optional()
      .describe('Seconds that the job and its results are kept after its end, in place of what is configured.'),
    webhook: z
      .url({ protocol: /^https?$/ })
      .max(2048)
      .optional()
      .describe('Called with a signed POST (Standard Webhooks) when the job has ended.'),
    webhook_events: z
      .array(jobEventType)
      .min(1)
      .max(jobEventType.options.length)
      .refine((types) => new Set(types).size === types.length, 'each event once')
      .optional()
      .describe('What the webhook is told of; every end of the job, and nothing before it, when left out.'),
    timeout: seconds
      .optional()
      .describe('Seconds that a run may take, from its first start to its end; then it fails with `timeout`.'),
    expires_in: seconds
      .optional()
      .describe('Seconds that a run may wait to be started; then it is `expired`, and never starts.'),
    metadata: z
      .unknown()
      .refine(hasFewKeys, { error: `at most ${MAX_METADATA_KEYS} keys`, abort: true })
      .pipe(metadata)
      .optional()
      .describe('Yours; returned with the job. At most 50 keys of 40 characters, values of 500.'),
  })
  .refine((body) => [body.inputs, body.input, body.input_file].filter((rows) => rows !== undefined).length === 1, {
    message: 'give exactly one of `inputs` (an array of rows), `input` (one row) and `input_file`',
    path: ['inputs'],
  })
  .refine((body) => body.delay === undefined || body.run_at === undefined, {
    message: 'give one of `delay` and `run_at`',
    path: ['run_at'],
  })
  .refine((body) => body.webhook_events === undefined || body.webhook !== undefined, {
    message: 'there is no `webhook` to be told of them',
    path: ['webhook_events'],
  });
export type JobRequest = z.infer<typeof envelope>;

/**
 * The envelope of `POST /jobs`. The rows are checked afterwards, against the schema of the model's version.
 * Exactly one of `inputs`, `input` and `input_file` is there.
 */
export const jobRequest: z.ZodType<JobRequest> = boundedObject(envelope, Object.keys(envelope.shape));

function hasFewKeys(value: unknown): boolean {
  return typeof value !== 'object' || value === null || Object.keys(value).length <= MAX_METADATA_KEYS;
}

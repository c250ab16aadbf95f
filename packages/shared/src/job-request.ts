import { z } from 'zod';
import { boundedObject, MAX_FAULTS } from './bounded-object.ts';
import { metadata, onRowError } from './job.ts';
import { lane } from './lane.ts';

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

const envelope = z
  .strictObject({
    model: z.string().min(1).max(64).describe('The name of a model; `GET /models` lists them.'),
    version: z.string().min(1).max(64).optional().describe('A version of it; the newest one when left out.'),
    inputs: rows.optional().describe('The rows to score.'),
    input: row.optional().describe('Short for `inputs` with one row.'),
    on_row_error: onRowError
      .default('fail')
      .describe('`fail`: one failed row fails the job. `continue`: the job succeeds and counts the rows that failed.'),
    lane: lane.default('interactive').describe('`bulk` jobs give way to `interactive` ones.'),
    webhook: z
      .url({ protocol: /^https?$/ })
      .max(2048)
      .optional()
      .describe('Called with a signed POST (Standard Webhooks) when the job has ended.'),
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
  .refine((body) => (body.inputs === undefined) !== (body.input === undefined), {
    message: 'give exactly one of `inputs` (an array of rows) and `input` (one row)',
    path: ['inputs'],
  });
export type JobRequest = z.infer<typeof envelope>;

/**
 * The envelope of `POST /jobs`. The rows are checked afterwards, against the schema of the model's version.
 * Exactly one of `inputs` and `input` is there.
 */
export const jobRequest: z.ZodType<JobRequest> = boundedObject(envelope, Object.keys(envelope.shape));

function hasFewKeys(value: unknown): boolean {
  return typeof value !== 'object' || value === null || Object.keys(value).length <= MAX_METADATA_KEYS;
}

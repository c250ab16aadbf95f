import { z } from 'zod';
import { modelName, modelVersion } from './model-name.ts';

const WEEK_S = 7 * 24 * 3600;

/** What answers in the place of a model that cannot. */
export const fallback = z.discriminatedUnion('type', [
  /** The last answer that the version gave to an equal row of the same tenant. */
  z.strictObject({
    type: z.literal('cached_result'),
    max_age_s: z.number().int().min(1).max(WEEK_S),
    /** Rows that are kept, the newest ones. */
    max_rows: z.number().int().min(1).max(1_000_000).default(10_000),
  }),
  /** Another model on the same worker, its newest version unless one is named. Of a tabular row it gets the fields that it has. */
  z.strictObject({ type: z.literal('model'), name: modelName, version: modelVersion.optional() }),
  z.strictObject({ type: z.literal('static'), output: z.record(z.string(), z.unknown()) }),
  /** Nothing answers, and the job fails at once instead of waiting for its model. */
  z.strictObject({ type: z.literal('unavailable') }),
]);
export type Fallback = z.infer<typeof fallback>;

/** Tried in their order. */
export const fallbacks = z
  .array(fallback)
  .max(8)
  .refine(
    (list) => list.slice(0, -1).every(({ type }) => type !== 'unavailable' && type !== 'static'),
    'nothing comes after `static` and `unavailable`: both always apply',
  );

/** What of them a descriptor tells. Loose: an API of an earlier version has to read it. */
export const publishedFallbacks = z.array(z.looseObject({ type: z.string() }));

/** Whether any of them may have an answer, so that a job is worth accepting while its model is left alone. */
export function mayAnswer(list: readonly { type: string }[] | undefined): boolean {
  return list?.some(({ type }) => type !== 'unavailable') ?? false;
}

/** In a row's result: what answered. */
export const fallbackTrace = z.object({
  type: z.enum(['cached_result', 'model', 'static']),
  /** Whose answer it is; none of a static one. */
  model: z.string().optional(),
  version: z.string().optional(),
  /** How old a cached answer was. */
  age_s: z.number().optional(),
});
export type FallbackTrace = z.infer<typeof fallbackTrace>;

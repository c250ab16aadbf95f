import { z } from 'zod';

/** Faults told of one request: more than a person reads, and an end to the work that a bad body makes. */
export const MAX_FAULTS = 20;

/**
 * The schema behind a cheap look at how many members there are. zod makes an issue and a text for every member that is
 * wrong, some µs each, and a body may hold half a million; an object with far more members than the schema knows is
 * refused by the first of its strangers, and the schema never sees it.
 */
export function boundedObject<Out>(schema: z.ZodType<Out>, known: readonly string[]): z.ZodType<Out> {
  const names = new Set(known);
  return z
    .unknown()
    .superRefine((value, context) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      const keys = Object.keys(value);
      if (keys.length <= names.size + MAX_FAULTS) return;
      let strangers = 0;
      for (const key of keys) {
        if (names.has(key)) continue;
        // Not zod's own `unrecognized_keys`: a pipe goes on after that one.
        context.addIssue({ code: 'custom', path: [key], message: 'unknown field' });
        if (++strangers === MAX_FAULTS) return;
      }
    })
    .pipe(schema as z.ZodType<Out, unknown>);
}

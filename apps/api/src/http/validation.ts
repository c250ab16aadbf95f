import { jsonPointer, MAX_FAULTS, Problem, type ProblemError } from '@onqueue/shared';
import type { z } from 'zod';

/**
 * Parses with a schema; every fault becomes an error with a pointer.
 * @throws Problem invalid_request
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalidRequest(what, problemErrors(parsed.error.issues, value, []));
}

export function invalidRequest(what: string, errors: readonly ProblemError[]): Problem {
  const [first] = errors;
  // Nobody has counted further.
  const rest = errors.length >= MAX_FAULTS ? 'more' : `${errors.length - 1} more`;
  const more = errors.length > 1 ? ` (and ${rest})` : '';
  return new Problem(
    'invalid_request',
    `${what} is not valid: ${first?.pointer || 'the body'}: ${first?.detail}${more}.`,
    {
      errors: errors.slice(0, MAX_FAULTS),
    },
  );
}

/** zod's issues with `value` as pointers into the body, the first ones; `path` is where `value` stands in it. */
export function problemErrors(
  issues: readonly z.core.$ZodIssue[],
  value: unknown,
  path: readonly PropertyKey[],
): ProblemError[] {
  return issues
    .slice(0, MAX_FAULTS)
    .flatMap((issue) => errorsOf(issue, value, path))
    .slice(0, MAX_FAULTS);
}

function errorsOf(issue: z.core.$ZodIssue, value: unknown, path: readonly PropertyKey[]): ProblemError[] {
  const at = [...path, ...issue.path];
  const found = issue.path.reduce<unknown>((member, key) => (member as Record<PropertyKey, unknown>)?.[key], value);
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.slice(0, MAX_FAULTS);
    return keys.map((key) => ({ pointer: jsonPointer([...at, key]), detail: 'unknown field' }));
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The alternative that is nearest to what was sent says best what is wrong with it.
    const nearest = issue.errors.reduce((best, errors) => (errors.length < best.length ? errors : best));
    return problemErrors(nearest, found, at);
  }
  // A rule of our own says itself what is missing.
  const isMissing = found === undefined && issue.code !== 'custom';
  return [{ pointer: jsonPointer(at), detail: isMissing ? 'this field is required' : lowerFirst(issue.message) }];
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

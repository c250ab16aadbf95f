import { PROBLEMS, type ProblemCode } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiResponseObject } from 'zod-openapi';
import * as replies from './replies.ts';

/** What any request may meet, whatever it is for: told once, as the `default` of each operation. */
const OF_ANY_REQUEST = [
  'malformed_http',
  'request_timeout',
  'expectation_failed',
  'headers_too_large',
] as const satisfies ProblemCode[];

export const anyRequest: ZodOpenApiResponseObject = {
  id: 'AnyRequest',
  description: `What any request may meet.\n\n${lines(OF_ANY_REQUEST).join('\n\n')}`,
  content: {
    'application/problem+json': {
      schema: replies.problem
        .extend({ code: z.enum(OF_ANY_REQUEST) })
        .meta({ id: 'ProblemOfAnyRequest', description: 'A Problem with one of these codes.' }),
    },
  },
};

/** What any request may meet that Redis has to answer. */
export const STORAGE = ['storage_unavailable', 'storage_unsuitable'] as const;

/** With an example, or a named one for each kind of answer. */
export function json<T extends z.ZodType>(
  schema: T,
  description: string,
  example: z.infer<T> | { examples: Record<string, z.infer<T>> },
): ZodOpenApiResponseObject {
  return { description, content: { 'application/json': { schema, ...exampleOf(example) } } };
}

function exampleOf(example: unknown): { example: unknown } | { examples: Record<string, { value: unknown }> } {
  if (typeof example !== 'object' || example === null || !('examples' in example)) return { example };
  const named = Object.entries(example.examples as Record<string, unknown>);
  return { examples: Object.fromEntries(named.map(([name, value]) => [name, { value }])) };
}

/** One response a status, whose description names the codes that come with it. */
export function problems(...groups: ProblemCode[][]): Record<`${4 | 5}${number}${number}`, ZodOpenApiResponseObject> {
  const descriptions = new Map<number, string[]>();
  for (const code of groups.flat()) {
    const { status } = PROBLEMS[code];
    descriptions.set(status, [...(descriptions.get(status) ?? []), ...lines([code])]);
  }
  return Object.fromEntries(
    [...descriptions].map(([status, lines]) => [
      String(status),
      { description: lines.join('\n\n'), content: { 'application/problem+json': { schema: replies.problem } } },
    ]),
  );
}

function lines(codes: readonly ProblemCode[]): string[] {
  return codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`);
}

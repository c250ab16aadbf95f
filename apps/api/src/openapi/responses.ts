import { PROBLEMS, type ProblemCode } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiResponseObject } from 'zod-openapi';
import { mayRetryAfter, requestId, retryAfter } from './headers.ts';
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
  headers: z.object(requestId),
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
  headers: Headers = {},
): ZodOpenApiResponseObject {
  return {
    description,
    headers: z.object(headers),
    content: { 'application/json': { schema, ...exampleOf(example) } },
  };
}

type Headers = Record<string, z.ZodType>;

/** The client has this answer already. */
export function notModified(headers: Headers = {}): ZodOpenApiResponseObject {
  return { description: 'It is as the client has it.', headers: z.object(headers) };
}

function exampleOf(example: unknown): { example: unknown } | { examples: Record<string, { value: unknown }> } {
  if (typeof example !== 'object' || example === null || !('examples' in example)) return { example };
  const named = Object.entries(example.examples as Record<string, unknown>);
  return { examples: Object.fromEntries(named.map(([name, value]) => [name, { value }])) };
}

/** One response a status, whose description names the codes that come with it. */
export function problems(...groups: ProblemCode[][]): Record<`${4 | 5}${number}${number}`, ZodOpenApiResponseObject> {
  const codesOf = new Map<number, ProblemCode[]>();
  for (const code of groups.flat()) {
    const { status } = PROBLEMS[code];
    codesOf.set(status, [...(codesOf.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...codesOf].map(([status, codes]) => [
      String(status),
      {
        description: lines(codes).join('\n\n'),
        headers: z.object(waitHeaders(codes)),
        content: { 'application/problem+json': { schema: replies.problem } },
      },
    ]),
  );
}

/** What goes away by itself says when it is worth trying again. */
function waitHeaders(codes: readonly ProblemCode[]): Headers {
  if (codes.every(isPassing)) return retryAfter;
  return codes.some(isPassing) ? mayRetryAfter : {};
}

function isPassing(code: ProblemCode): boolean {
  return [429, 503].includes(PROBLEMS[code].status) || code === 'job_not_finished';
}

function lines(codes: readonly ProblemCode[]): string[] {
  return codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`);
}

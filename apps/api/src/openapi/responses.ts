import { PROBLEMS, type ProblemCode } from '@onqueue/shared';
import type { z } from 'zod';
import type { ZodOpenApiResponseObject } from 'zod-openapi';
import * as replies from './replies.ts';

/** What any request may meet that Redis has to answer. */
export const STORAGE = ['storage_unavailable', 'storage_unsuitable'] as const;

export function json(schema: z.ZodType, description: string): ZodOpenApiResponseObject {
  return { description, content: { 'application/json': { schema } } };
}

/** One response a status, whose description names the codes that come with it. */
export function problems(...groups: ProblemCode[][]): Record<`${4 | 5}${number}${number}`, ZodOpenApiResponseObject> {
  const descriptions = new Map<number, string[]>();
  for (const code of groups.flat()) {
    const { status, title } = PROBLEMS[code];
    descriptions.set(status, [...(descriptions.get(status) ?? []), `\`${code}\`: ${title}`]);
  }
  return Object.fromEntries(
    [...descriptions].map(([status, lines]) => [
      String(status),
      { description: lines.join('\n\n'), content: { 'application/problem+json': { schema: replies.problem } } },
    ]),
  );
}

import { z } from 'zod';

/** Post `body` to `url` so often, with so many requests in flight. */
export const bareSenderQuestion = z.object({
  url: z.string(),
  count: z.number(),
  concurrency: z.number(),
  body: z.string(),
});

export const bareSenderAnswer = z.object({ sent: z.number() });

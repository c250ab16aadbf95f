import { z } from 'zod';

/** Serve, with a queue in that Redis. */
export const bareServerQuestion = z.object({ redisUrl: z.string() });

/** Where it serves. */
export const bareServerAnswer = z.object({ baseUrl: z.url() });

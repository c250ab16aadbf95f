import { z } from 'zod';

/** Interactive jobs go before bulk jobs wherever the two meet. */
export const lane = z.enum(['interactive', 'bulk']);
export type Lane = z.infer<typeof lane>;
export const LANES = lane.options;

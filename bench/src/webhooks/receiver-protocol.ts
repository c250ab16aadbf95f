import { z } from 'zod';

/** Open so many receivers, each on a port of its own. */
const open = z.object({ kind: z.literal('open'), receivers: z.number() });
/** Answer when `count` events have arrived; the receivers at the indices in `dead` answer nothing and count nothing. */
const expect = z.object({ kind: z.literal('expect'), count: z.number(), dead: z.array(z.number()) });
/** Cut whatever hangs, and let all live. */
const revive = z.object({ kind: z.literal('revive') });

export const receiverQuestion = z.discriminatedUnion('kind', [open, expect, revive]);
export type ReceiverQuestion = z.infer<typeof receiverQuestion>;

export const openAnswer = z.object({ ports: z.array(z.number()) });
export const reviveAnswer = z.object({ revived: z.number() });
/** From the first arrival to the last; and from when each event was written until it arrived. */
export const expectAnswer = z.object({
  elapsedMs: z.number(),
  connections: z.number(),
  latenciesMs: z.array(z.number()),
});

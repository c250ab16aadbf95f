import { z } from 'zod';

/** What we use of the options that BullMQ keeps with a job. */
const queueJobOptions = z.object({
  attempts: z.number().catch(1),
  backoff: z
    .object({ type: z.string(), delay: z.number().catch(0), jitter: z.number().catch(0) })
    .nullable()
    .catch(null),
});
export type QueueJobOptions = z.output<typeof queueJobOptions>;

const NONE: QueueJobOptions = { attempts: 1, backoff: null };
let lastText = '{}';
let lastOptions = NONE;

/** Parses them; nearly all jobs have the same ones, so the last result is kept. */
export function parseQueueJobOptions(text: string): QueueJobOptions {
  if (text !== lastText) {
    lastOptions = parse(text);
    lastText = text;
  }
  return lastOptions;
}

/** Whatever stands there: one job's options must not keep the others of its swap from being handed over. */
function parse(text: string): QueueJobOptions {
  try {
    return queueJobOptions.parse(JSON.parse(text));
  } catch {
    return NONE;
  }
}

/** How long a job waits after `failedAttempts` of them, as BullMQ reckons it: exponential or fixed, less up to `jitter` of it. */
export function retryDelayMs({ backoff }: QueueJobOptions, failedAttempts: number): number {
  if (!backoff) return 0;
  const fullMs = backoff.type === 'exponential' ? backoff.delay * 2 ** (failedAttempts - 1) : backoff.delay;
  return Math.round(fullMs * (1 - Math.random() * backoff.jitter));
}

import { eventType, jobState } from '@onqueue/shared';
import { z } from 'zod';

/** Milliseconds since the history began. `from`: when the question was sent, `at`: when the answer was there. */
const at = z.number();
const from = z.number();

/** How a job was seen to be, in any answer that shows one. */
const observed = z.object({
  kind: z.literal('observed'),
  at,
  from,
  id: z.string(),
  run: z.number().int(),
  attempt: z.number().int(),
  state: jobState,
  /** Of its only row; null while there is none. */
  score: z.number().nullable(),
  /** SHA-256 of the answer's bytes. */
  digest: z.string(),
});
export type Observed = z.infer<typeof observed>;

const webhookReceived = z.object({
  kind: z.literal('webhook'),
  at,
  /** Of the request that asked for it: a part of the receiver's URL. */
  key: z.string(),
  event: z.string(),
  type: eventType,
  id: z.string(),
  /** Null in a body that does not show the run it is about. */
  run: z.number().int().nullable(),
  /** Null in such a body, too. */
  attempt: z.number().int().nullable(),
  score: z.number().nullable(),
  /** SHA-256 of the body; null when it binds nobody any more. */
  digest: z.string().nullable(),
});
export type WebhookReceived = z.infer<typeof webhookReceived>;

const runEnd = z.object({
  run: z.number().int(),
  state: jobState,
  attempt: z.number().int(),
  score: z.number().nullable(),
});
export type RunEnd = z.infer<typeof runEnd>;

/** What a worker wrote into its log. */
const reported = z.object({
  kind: z.literal('reported'),
  at,
  worker: z.string(),
  id: z.string(),
  run: z.number().int(),
  attempt: z.number().int(),
  state: jobState,
});
export type Reported = z.infer<typeof reported>;

const request = z.object({
  kind: z.literal('request'),
  at,
  /** The client's own name for what it asks. */
  key: z.string(),
  model: z.string(),
  webhook: z.boolean(),
  /** What the answer must be, if there is one. */
  score: z.number(),
});
export type Requested = z.infer<typeof request>;

/** A line of a history: what clients asked and saw, and what was done to the platform. */
export const historyEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('begin'), at, scenario: z.string(), seed: z.number() }),
  request,
  /** 202. */
  z.object({ kind: z.literal('acknowledged'), at, key: z.string(), id: z.string() }),
  /** An answer that promises that nothing was stored. */
  z.object({ kind: z.literal('refused'), at, key: z.string(), status: z.number(), code: z.string() }),
  /** No answer, or one that promises nothing: the job may exist. */
  z.object({ kind: z.literal('unanswered'), at, key: z.string(), reason: z.string() }),
  observed,
  /** 404 for a job that was seen before. */
  z.object({ kind: z.literal('missing'), at, id: z.string() }),
  /** Whether a cancel came in time: 200, or 409 since the run had ended otherwise. */
  z.object({ kind: z.literal('cancel'), at, from, id: z.string(), run: z.number().int(), isCanceled: z.boolean() }),
  z.object({ kind: z.literal('retried'), at, id: z.string(), run: z.number().int() }),
  /** The list of runs at the end, in whatever order. */
  z.object({
    kind: z.literal('runs'),
    at,
    id: z.string(),
    runs: z.array(runEnd),
  }),
  webhookReceived,
  /** Redis has lost its last moments, and these jobs with them. */
  z.object({ kind: z.literal('rollback'), at, lost: z.array(z.string()) }),
  /** The end of an attempt, as its worker believes that it was committed. */
  reported,
  /** An attempt whose end was refused, as its worker says. */
  z.object({ kind: z.literal('fenced'), at, worker: z.string(), id: z.string(), attempt: z.number().int() }),
  z.object({ kind: z.literal('fault'), at, what: z.string() }),
  /** What still waits, after everything has ended. */
  z.object({
    kind: z.literal('backlog'),
    at,
    model: z.string(),
    jobs: z.number(),
    rows: z.number(),
    bytes: z.number(),
  }),
]);
export type HistoryEvent = z.infer<typeof historyEvent>;

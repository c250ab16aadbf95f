import { z } from 'zod';
import { jobEventType } from './events.ts';
import type { JobRecord, RunRecord } from './job.ts';
import { jobProgress } from './job-progress.ts';
import { isTerminal, jobState } from './job-state.ts';
import { jobView, toJobView } from './job-view.ts';

/** One event of a job, as `GET /jobs/{id}/events` sends it: under the name that webhooks have for it. */
export const jobEvent = z.object({
  /** `<run>-<number>`: rises with every event of the job, not always by one. */
  id: z.string(),
  type: jobEventType,
  timestamp: z.iso.datetime(),
  job_id: z.string(),
  run: z.number().int(),
  status: jobState,
  /** Of a `job.progress`. */
  progress: jobProgress.optional(),
  /** The job as it ended, with the end of its latest run; else null. */
  job: jobView.nullable(),
});
export type JobEvent = z.infer<typeof jobEvent>;

/** Told in the place of events that are not there any more, or never were: what was asked for, and that all that is known follows. */
export const eventGap = z.object({ type: z.literal('gap'), job_id: z.string(), after: z.string(), detail: z.string() });
export type EventGap = z.infer<typeof eventGap>;

/** Where a reader is: it has all events up to this one. */
export interface EventCursor {
  run: number;
  sequence: number;
}

/**
 * The numbers of a run's events. Between its start and its end stand those that tell of its progress: from `STARTED + 1` on, and
 * the end moves up behind them. Of these the record has the latest.
 */
const QUEUED = 0;
const STARTED = 1;
const endedOf = (run: RunRecord | JobRecord) => STARTED + (progressOf(run)?.sequence ?? 0) + 1;
const progressOf = ({ run, progress }: RunRecord | JobRecord) => (progress?.run === run ? progress : undefined);

const CURSOR = /^(\d{1,9})-(\d{1,9})$/;

/** Undefined when the text is no id of an event. */
export function parseEventCursor(text: string): EventCursor | undefined {
  const [, run, sequence] = CURSOR.exec(text) ?? [];
  return run === undefined ? undefined : { run: Number(run), sequence: Number(sequence) };
}

/** Whether the record knows of nothing so late: it was lost, or the id is another job's. */
export function isBeyond({ run, sequence }: EventCursor, record: JobRecord): boolean {
  if (run !== record.run) return run > record.run;
  return sequence > (isTerminal(record.state) ? endedOf(record) : endedOf(record) - 1);
}

/** Whether the reader has every event that the job has and, unless it is run again, ever has. */
export function isOver({ run, sequence }: EventCursor, record: JobRecord): boolean {
  return isTerminal(record.state) && run === record.run && sequence === endedOf(record);
}

/** The events behind a cursor that follow from the record and the runs before its latest one, in order. */
export function eventsAfter(
  cursor: EventCursor | undefined,
  record: JobRecord,
  earlier: readonly RunRecord[],
  baseUrl?: string,
): JobEvent[] {
  const all = [...earlier.flatMap((run) => eventsOfRun(run, record, baseUrl)), ...eventsOfRun(record, record, baseUrl)];
  return all.filter(({ id }) => cursor === undefined || isLater(parseEventCursor(id), cursor));
}

function isLater(one: EventCursor | undefined, other: EventCursor): boolean {
  return one !== undefined && (one.run > other.run || (one.run === other.run && one.sequence > other.sequence));
}

function eventsOfRun(run: RunRecord | JobRecord, record: JobRecord, baseUrl?: string): JobEvent[] {
  const event = (sequence: number, type: JobEvent['type'], atUs: number, status: JobEvent['status']): JobEvent => ({
    id: `${run.run}-${sequence}`,
    type,
    timestamp: new Date(Math.floor(atUs / 1000)).toISOString(),
    job_id: record.id,
    run: run.run,
    status,
    job: null,
  });
  const events = [event(QUEUED, 'job.queued', run.queued_us, 'queued')];
  if (run.started_us !== undefined) events.push(event(STARTED, 'job.started', run.started_us, 'running'));
  const progress = progressOf(run);
  if (progress) {
    const told = event(STARTED + progress.sequence, 'job.progress', progress.at_ms * 1000, 'running');
    events.push({ ...told, progress: { rows: progress.rows } });
  }
  if (isTerminal(run.state) && run.finished_us !== undefined) {
    const end = event(endedOf(run), `job.${run.state}`, run.finished_us, run.state);
    events.push(run.run === record.run ? { ...end, job: toJobView(record, baseUrl) } : end);
  }
  return events;
}

import type { JobRecord } from './job.ts';

/** Where a job stands that waits to be started. */
export interface QueuePlace {
  /** Jobs ahead of it: those of its tenant that wait for their turn, and those in its queue. */
  position: number;
  /** Jobs that start before it, with those of other tenants whose turns come between; undefined: nobody has counted so far. */
  startsBefore: number | undefined;
  isPaused: boolean;
}

/** Looks where jobs stand in their queues. */
export interface QueuePlaces {
  /** Undefined when the job waits in no queue, or so far behind that looking would cost too much. */
  placeOf(
    record: Pick<JobRecord, 'tenant' | 'id' | 'run' | 'rows' | 'model' | 'lane'>,
  ): Promise<QueuePlace | undefined>;
}

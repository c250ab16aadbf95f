import { type ClaimedJob, faultPoint, type JobErrorCode, type JobOutcome, type JobPayloads } from '@onqueue/shared';
import type { ByteRoom } from './byte-room.ts';
import { type Attempt, failedWhole, type JobHandler } from './queue/job-source.ts';

export interface PayloadHandlerOptions {
  payloads: Pick<JobPayloads, 'read' | 'writeResults'>;
  room: ByteRoom;
  /** The blob store failed; the job is tried again, or keeps its results in the record. */
  onError: (error: Error) => void;
}

/**
 * Brings a job's rows from the blob store before it is scored, and takes results there that are too many for its record.
 *
 * Rows that cannot be read now are tried again like any failure that may pass; those that are lost fail the job. Results that
 * cannot be written stay with the job, as small ones do: a blob store that is away or full keeps no job from ending.
 */
export function withPayloads({ payloads, room, onError }: PayloadHandlerOptions, handler: JobHandler): JobHandler {
  const score = async (job: ClaimedJob, attempt: Attempt): Promise<JobOutcome> => {
    const outcome = await handler(job, attempt);
    // Those of a run of some rows are put in among the others when they are committed, in the record where these are.
    if (outcome.state === 'queued' || job.kept) return outcome;
    try {
      const resultsRef = await payloads.writeResults(job, JSON.stringify(outcome.results), outcome.results.length);
      if (!resultsRef) return outcome;
      faultPoint('results.stored.after');
      return { ...outcome, resultsRef };
    } catch (error) {
      onError(error as Error);
      return outcome;
    }
  };
  return async (job, attempt) => {
    const { inputsRef } = job;
    if (!inputsRef) return score(job, attempt);
    return room.within(inputsRef.bytes, async () => {
      let inputs: unknown;
      try {
        inputs = await payloads.read(job.tenant, inputsRef);
      } catch (error) {
        onError(error as Error);
        return unreadable(job, attempt);
      }
      if (!Array.isArray(inputs)) return lost(job);
      return score({ ...job, inputs }, attempt);
    });
  };
}

function lost(job: ClaimedJob): JobOutcome {
  const code: JobErrorCode = 'input_lost';
  return failedWhole(job, { code, detail: 'The rows of the job are not in the blob store any more. Post it again.' });
}

function unreadable(job: ClaimedJob, { isLast }: Attempt): JobOutcome {
  if (!isLast) return { state: 'queued', spendsAttempt: true };
  const code: JobErrorCode = 'input_unreadable';
  return failedWhole(job, { code, detail: 'The blob store that has the rows of the job did not answer.' });
}

import type { JobRecord } from './job.ts';
import type { JobState } from './job-state.ts';

/** Which jobs of a tenant are wanted; what is left out is not asked for. Newest first. */
export interface JobQuery {
  tenant: string;
  model?: string;
  states?: readonly JobState[];
  /** Half open: at or after the one, before the other. */
  createdAfterMs?: number;
  createdBeforeMs?: number;
  /** Values as text, by keys that are indexed. */
  metadata?: Readonly<Record<string, string>>;
  /** The page begins behind this id. */
  after?: string;
  limit: number;
  /** Records that are looked at before a page is given out as it is. */
  maxLooks: number;
}

export interface JobPage {
  /** Without results, provenance and timings. */
  jobs: JobRecord[];
  /** The id behind which the next page begins; undefined: there is none. */
  next: string | undefined;
}

/** The lists of jobs. */
export interface JobIndex {
  list(query: JobQuery): Promise<JobPage>;
  /** Takes jobs off the lists of a partition whose records are gone; does nothing while another process does it. */
  prune(partition: number): Promise<void>;
}

/** At most so many metadata keys can be searched for: each costs a list entry a job. */
export const MAX_INDEXED_METADATA_KEYS = 10;

import { z } from 'zod';
import type { ApiClient } from '../api/api-client.ts';
import { CliError, EXIT, type ExitCode } from '../cli-error.ts';

const deletedJob = z.looseObject({ id: z.string(), deleted: z.literal(true), deleted_at: z.string() });

/** What became of one of them. */
export type Deletion =
  | { id: string; deleted: true; deleted_at: string }
  | { id: string; deleted: false; error: string; problem?: unknown };

export interface Deletions {
  deletions: Deletion[];
  /** That of the first one that was not deleted. */
  exitCode: ExitCode;
}

/** Deletes jobs one by one. One that is not there, or has not ended, keeps none of the others; an API that is away ends it. */
export async function deleteJobs(
  ids: readonly string[],
  { api, progress }: { api: ApiClient; progress: ((text: string) => void) | undefined },
): Promise<Deletions> {
  const deletions: Deletion[] = [];
  let exitCode: ExitCode = EXIT.done;
  for (const id of ids) {
    progress?.(`${deletions.length} of ${ids.length}`);
    try {
      const { deleted_at } = await api.ask(deletedJob, 'DELETE', `/jobs/${encodeURIComponent(id)}`);
      deletions.push({ id, deleted: true, deleted_at });
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      deletions.push({ id, deleted: false, error: error.message, ...error.details });
      if (exitCode === EXIT.done) exitCode = error.exitCode;
      if (error.exitCode === EXIT.unavailable) break;
    }
  }
  return { deletions, exitCode };
}

/** A line for each. */
export function deletionsText(deletions: readonly Deletion[]): string {
  return deletions
    .map((one) => (one.deleted ? `${one.id}  deleted` : `${one.id}  not deleted: ${one.error}`))
    .join('\n');
}

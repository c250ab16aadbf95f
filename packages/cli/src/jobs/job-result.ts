import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type ApiClient, ApiError } from '../api/api-client.ts';
import { CliError } from '../cli-error.ts';

export interface ResultRequest {
  id: string;
  /** The rows alone, one a line. */
  ndjson: boolean;
}

/** The result as text: JSON for people, or the lines as they are. @throws ApiError, job_not_finished among others */
export async function resultText(api: ApiClient, request: ResultRequest): Promise<string> {
  const response = await openResult(api, request);
  const text = await response.text().catch((cause: Error) => {
    throw brokenOff(cause);
  });
  return request.ndjson ? text.trimEnd() : JSON.stringify(JSON.parse(text), null, 2);
}

/**
 * Writes the result to a file as the API sends it, however large it is; how many bytes. The file appears when it is whole: one that was
 * there before stays when something breaks. @throws ApiError, CliError
 */
export async function saveResult(api: ApiClient, request: ResultRequest, path: string): Promise<number> {
  const response = await openResult(api, request);
  const partial = `${path}.partial`;
  try {
    await pipeline(
      Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]),
      createWriteStream(partial),
    );
    const { size } = await stat(partial);
    await rename(partial, path);
    return size;
  } catch (error) {
    await rm(partial, { force: true });
    const cause = error as NodeJS.ErrnoException;
    // What the file system says has its name; what is left is the connection.
    throw cause.syscall === undefined
      ? brokenOff(cause)
      : new CliError(`${path} cannot be written: ${cause.message}`, { cause });
  }
}

function openResult(api: ApiClient, { id, ndjson }: ResultRequest): Promise<Response> {
  const accept = ndjson ? 'application/x-ndjson' : 'application/json';
  return api.open('GET', `/jobs/${encodeURIComponent(id)}/result`, { headers: { accept } });
}

function brokenOff(cause: Error): ApiError {
  return new ApiError(`The result broke off: ${cause.message}. The same command asks for it again.`, { cause });
}

import { join } from 'node:path';

/** Beyond it a request goes by its file: nobody reads it. */
export const MAX_SHOWN_REQUEST = 2000;
/** Beside the model. */
export const REQUEST_FILE = 'request.json';

/** A command that posts a job and waits for its answer. */
export function curlLine(options: { baseUrl: string; request: string; folder: string }): string {
  const { baseUrl, request, folder } = options;
  const data = request.length > MAX_SHOWN_REQUEST ? `@${join(folder, REQUEST_FILE)}` : request;
  const quoted = `'${data.replaceAll("'", String.raw`'\''`)}'`;
  return `curl -s ${baseUrl}/jobs -H 'content-type: application/json' -H 'prefer: wait=10' -d ${quoted}`;
}

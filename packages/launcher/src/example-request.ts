import { httpGet } from './http-get.ts';

/** A command that posts a job with the example row that the model publishes, ready to be pasted into a shell. */
export async function exampleRequest(baseUrl: string, model: string): Promise<string> {
  const row = await exampleRow(`${baseUrl}/models/${model}`);
  if (row === undefined) return `curl -s ${baseUrl}/models`;
  const body = JSON.stringify({ model, inputs: [row] }).replaceAll("'", String.raw`'\''`);
  return `curl -s ${baseUrl}/jobs -H 'content-type: application/json' -d '${body}'`;
}

/** Undefined when the model is not served, or its example is too long for a command line. */
async function exampleRow(url: string): Promise<unknown> {
  try {
    const { status, body } = await httpGet(url);
    const example: unknown = status === 200 ? JSON.parse(body).example : undefined;
    return typeof example === 'object' && JSON.stringify(example).length <= MAX_ROW_LENGTH ? example : undefined;
  } catch {
    return undefined;
  }
}

const MAX_ROW_LENGTH = 2000;

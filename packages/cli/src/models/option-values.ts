import { readFile } from 'node:fs/promises';
import { CliError, EXIT } from '../cli-error.ts';

export type Row = Record<string, unknown>;

/** `--labels`: a list with commas, or a file with one label a line, or a JSON array. */
export async function labelsOf(value: string | undefined, at: (path: string) => string): Promise<string[] | undefined> {
  if (value === undefined) return undefined;
  const text = await readFile(at(value), 'utf8').catch(() => undefined);
  const labels = text === undefined ? value.split(',') : labelsOfFile(text);
  if (labels.length < 2 || labels.some((label) => label === '') || new Set(labels).size < labels.length) {
    throw new CliError('--labels needs two labels at least, each once and none of them empty.', {
      exitCode: EXIT.usage,
    });
  }
  return labels;
}

/** `--rows`: one JSON object a line. */
export async function rowsOfFile(path: string): Promise<Row[]> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new CliError(`${path} cannot be read: ${cause.message}`, { cause });
  });
  return rowsOfText(text, path);
}

/** One JSON object a line; `name` is where it comes from, for messages. */
export function rowsOfText(text: string, name: string): Row[] {
  const rows = text
    .split('\n')
    .flatMap((line, index) => (line.trim() === '' ? [] : [rowOf(line, `${name}:${index + 1}`)]));
  if (rows.length === 0) throw new CliError(`${name} has no rows.`);
  return rows;
}

function labelsOfFile(text: string): string[] {
  if (text.trimStart().startsWith('[')) {
    try {
      const labels: unknown = JSON.parse(text);
      if (Array.isArray(labels)) return labels.map(String);
    } catch {
      // Labels that begin with a bracket, one a line.
    }
  }
  return text.trimEnd().split(/\r?\n/);
}

function rowOf(line: string, place: string): Row {
  try {
    const row: unknown = JSON.parse(line);
    if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row as Row;
  } catch (cause) {
    throw new CliError(`${place} is not JSON: ${(cause as Error).message}`, { cause });
  }
  throw new CliError(`${place} is not a JSON object.`);
}

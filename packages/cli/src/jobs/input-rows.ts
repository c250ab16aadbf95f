import { readFile } from 'node:fs/promises';
import { CliError, EXIT } from '../cli-error.ts';
import { type Row, rowsOfText } from '../models/option-values.ts';

export interface InputRowsOptions {
  /** JSON: a row, or an array of rows. */
  input: string | undefined;
  /** A path; `-` is what is piped in. */
  file: string | undefined;
  at: (path: string) => string;
  readInput: (() => Promise<string>) | undefined;
}

/**
 * The rows of a job: given as they are, in a file, or piped in. A file holds a row a line, an array of rows, or one row over
 * many lines. @throws CliError
 */
export async function inputRows({ input, file, at, readInput }: InputRowsOptions): Promise<Row[]> {
  if (input !== undefined && file !== undefined) throw usage('Give --input or --file, not both.');
  if (input !== undefined) {
    const rows = rowsOfJson(input);
    if (rows === undefined) throw usage('--input is no JSON object, and no array of them.');
    return rows;
  }
  const isPiped = file === undefined || file === '-';
  if (isPiped && readInput === undefined) {
    throw usage('There are no rows: give --input \'{"…": …}\' or --file <path>, or pipe them in.');
  }
  const text = isPiped ? await readInput?.() : await readText(at(file));
  const name = isPiped ? 'stdin' : file;
  return rowsOfJson(text ?? '') ?? rowsOfText(text ?? '', name);
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: Error) => {
    throw new CliError(`${path} cannot be read: ${cause.message}`, { cause });
  });
}

/** Undefined: it is no row and no array of rows; lines of rows, perhaps. */
function rowsOfJson(text: string): Row[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const rows = Array.isArray(value) ? value : [value];
    return rows.length > 0 && rows.every((row) => typeof row === 'object' && row !== null) ? rows : undefined;
  } catch {
    return undefined;
  }
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: EXIT.usage });
}

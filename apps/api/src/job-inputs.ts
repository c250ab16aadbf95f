import {
  BlobTooLargeError,
  isFileId,
  type JobRequest,
  jsonPointer,
  type ModelDescriptor,
  Problem,
} from '@onqueue/shared';
import type { Files } from './files.ts';
import { parseJson } from './http/json-body.ts';
import type { JsonLimits } from './http/json-scan.ts';

export interface JobInputsOptions {
  files: Pick<Files, 'bytes'>;
  limits: JsonLimits & {
    maxRowsPerJob: number;
    /** Of all that is read from files for one job, as of a body. */
    maxBytes: number;
  };
}

export interface JobInputs {
  rows: readonly Record<string, unknown>[];
  /** Where a row stands in what was sent. */
  pathOf(index: number): PropertyKey[];
}

type Row = Record<string, unknown>;

/**
 * The rows of a job, wherever they are: in the request, in a file, or with files in them. What is read from files becomes the job's
 * own, so that a file may go before its job has run. Rows are checked by nobody yet but for their number.
 */
export class JobInputReader {
  readonly #options: JobInputsOptions;

  constructor(options: JobInputsOptions) {
    this.#options = options;
  }

  /** @throws Problem too_many_rows, file_not_found, payload_too_large, or what is wrong with the JSON of a file */
  async read(tenant: string, body: JobRequest, descriptor: ModelDescriptor): Promise<JobInputs> {
    const inputs = await this.#rowsOf(tenant, body);
    const { maxRowsPerJob } = this.#options.limits;
    if (inputs.rows.length > maxRowsPerJob) throw tooManyRows(String(inputs.rows.length), maxRowsPerJob);
    if (descriptor.kind !== 'image') return inputs;
    return { ...inputs, rows: await this.#withFiles(tenant, inputs) };
  }

  async #rowsOf(tenant: string, { input, inputs, input_file: file }: JobRequest): Promise<JobInputs> {
    if (input) return { rows: [input], pathOf: () => ['input'] };
    if (inputs) return { rows: inputs, pathOf: (index) => ['inputs', index] };
    return { rows: await this.#rowsOfFile(tenant, String(file)), pathOf: (index) => ['input_file', index] };
  }

  async #rowsOfFile(tenant: string, id: string): Promise<Row[]> {
    const { limits } = this.#options;
    const bytes = await this.#bytesOf(tenant, id, limits.maxBytes, ['input_file']);
    const values = isArray(bytes) ? parseJson(bytes, limits) : this.#lines(bytes);
    const rows = values as unknown[];
    const bad = rows.findIndex((row) => typeof row !== 'object' || row === null || Array.isArray(row));
    if (bad >= 0 || rows.length === 0) {
      const detail = rows.length === 0 ? 'the file has no rows' : `row ${bad} of the file is not an object`;
      throw new Problem('invalid_request', `The rows of the file are not valid: ${detail}.`, {
        errors: [{ pointer: '/input_file', detail }],
      });
    }
    return rows as Row[];
  }

  #lines(bytes: Buffer): unknown[] {
    const { limits } = this.#options;
    const values: unknown[] = [];
    for (let at = 0; at < bytes.length; ) {
      const newline = bytes.indexOf(0x0a, at);
      const end = newline === -1 ? bytes.length : newline;
      const line = bytes.subarray(at, end);
      at = end + 1;
      if (line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)) continue;
      if (values.length === limits.maxRowsPerJob)
        throw tooManyRows(`more than ${limits.maxRowsPerJob}`, limits.maxRowsPerJob);
      values.push(parseJson(line, limits));
    }
    return values;
  }

  /** `{"image": {"file": "file_…"}}` with the image in its place. */
  async #withFiles(tenant: string, { rows, pathOf }: JobInputs): Promise<Row[]> {
    const filled: Row[] = [];
    let left = this.#options.limits.maxBytes;
    // One after the other: together they are as large as a body, and no more are in memory than that.
    for (const [index, row] of rows.entries()) {
      const id = fileOf(row.image);
      if (id === undefined) {
        filled.push(row);
        continue;
      }
      const bytes = await this.#bytesOf(tenant, id, left, [...pathOf(index), 'image', 'file']);
      left -= bytes.length;
      filled.push({ ...row, image: bytes.toString('base64') });
    }
    return filled;
  }

  async #bytesOf(tenant: string, id: string, maxBytes: number, path: PropertyKey[]): Promise<Buffer> {
    const pointer = jsonPointer(path);
    try {
      return await this.#options.files.bytes(tenant, id, maxBytes);
    } catch (error) {
      if (error instanceof BlobTooLargeError) {
        const { maxBytes: max } = this.#options.limits;
        const detail = `the files of a job have at most ${max} bytes together (ONQUEUE_MAX_BODY_BYTES)`;
        throw new Problem('payload_too_large', `The job is too large: ${detail}.`, { errors: [{ pointer, detail }] });
      }
      if (error instanceof Problem && error.code === 'file_not_found') {
        throw new Problem('file_not_found', error.message, { errors: [{ pointer, detail: 'there is no such file' }] });
      }
      throw error;
    }
  }
}

function fileOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return undefined;
  const { file } = value as { file?: unknown };
  return isFileId(file) ? file : undefined;
}

/** JSON and not NDJSON: the first thing in it opens an array. */
function isArray(bytes: Buffer): boolean {
  const first = bytes.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
  return first === 0x5b;
}

function tooManyRows(count: string, max: number): Problem {
  return new Problem('too_many_rows', `The job has ${count} rows; at most ${max} are allowed. Split it.`, {
    errors: [{ pointer: '/inputs', detail: `${count} rows, at most ${max}` }],
  });
}

import { z } from 'zod';
import { CliError, EXIT } from '../cli-error.ts';

const problem = z.looseObject({
  detail: z.string(),
  status: z.number(),
  code: z.string(),
  errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  request_id: z.string().optional(),
});

export interface ApiRequest {
  query?: Readonly<Record<string, string | number | undefined>>;
  headers?: Readonly<Record<string, string | undefined>>;
  /** Sent as JSON. */
  body?: unknown;
}

export interface ApiAnswer {
  status: number;
  headers: Headers;
  body: unknown;
}

/** What the API refused or could not do; the message is its problem document for people. */
export class ApiError extends CliError {
  /** Undefined: it was not reached. */
  readonly status: number | undefined;
  readonly retryAfterS: number | undefined;
  /** Of its problem document, where there is one. */
  readonly problemCode: string | undefined;

  constructor(
    message: string,
    options: { status?: number; retryAfterS?: number; problem?: z.infer<typeof problem>; cause?: unknown } = {},
  ) {
    const { status, retryAfterS, ...rest } = options;
    const isPassing = status === undefined || status === 429 || status >= 500;
    super(message, {
      exitCode: isPassing ? EXIT.unavailable : EXIT.failed,
      cause: rest.cause,
      ...(rest.problem === undefined ? {} : { details: { problem: rest.problem } }),
    });
    this.status = status;
    this.retryAfterS = retryAfterS;
    this.problemCode = rest.problem?.code;
  }
}

/** The API as the command line sees it. Connections are kept for the next request. */
export class ApiClient {
  readonly baseUrl: string;
  readonly #key: string | undefined;

  constructor({ baseUrl, key }: { baseUrl: string; key?: string | undefined }) {
    this.#key = key;
    this.baseUrl = baseUrl.replace(/\/+$/, '');
  }

  /** @throws ApiError */
  async request(method: string, path: string, request: ApiRequest = {}): Promise<ApiAnswer> {
    const response = await this.open(method, path, { ...request, timeoutMs: ANSWER_MS });
    const text = await response.text().catch((cause: Error) => {
      throw this.#unreached(cause);
    });
    return { status: response.status, headers: response.headers, body: parsedBody(text) };
  }

  /** The answer, as far as we know it. @throws ApiError, CliError for one that is none of ours */
  async ask<T>(schema: z.ZodType<T>, method: string, path: string, request: ApiRequest = {}): Promise<T> {
    return (await this.answer(schema, method, path, request)).body;
  }

  /** The same with its headers. */
  async answer<T>(
    schema: z.ZodType<T>,
    method: string,
    path: string,
    request: ApiRequest = {},
  ): Promise<{ headers: Headers; body: T }> {
    const { status, headers, body } = await this.request(method, path, request);
    const { data, error } = schema.safeParse(body);
    if (data !== undefined) return { headers, body: data };
    const [issue] = error?.issues ?? [];
    throw new CliError(
      `${this.baseUrl} answered ${status} to ${method} ${path}, and not as the API of this onqueue does` +
        ` (${issue?.path.join('.') || 'the answer'}: ${issue?.message}).`,
    );
  }

  /** The answer before its body is read, which may never end. @throws ApiError */
  async open(
    method: string,
    path: string,
    { query = {}, headers = {}, body, timeoutMs }: ApiRequest & { timeoutMs?: number },
  ): Promise<Response> {
    const url = new URL(`${this.baseUrl}${path}`);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const given = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const response = await fetch(url, {
      method,
      headers: {
        ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...Object.fromEntries(given),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(timeoutMs === undefined ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
    }).catch((cause: Error) => {
      throw this.#unreached(cause);
    });
    if (response.status < 400 || path === '/readyz') return response;
    throw await refusalOf(response, url);
  }

  #unreached(cause: Error): ApiError {
    const reason = cause.name === 'TimeoutError' ? `no answer in ${ANSWER_MS / 1000} s` : reasonOf(cause);
    return new ApiError(
      `The API at ${this.baseUrl} cannot be reached: ${reason}. Start it with npm start, or name another with --api-url or ONQUEUE_API_URL.`,
      { cause },
    );
  }
}

/** More than the longest that the API holds an answer for (`ONQUEUE_MAX_WAIT_S`). */
const ANSWER_MS = 330_000;

/** fetch() says only that it failed, and why in its cause. */
function reasonOf(error: Error): string {
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const { code, message } = cause as NodeJS.ErrnoException;
  return message || code || error.message;
}

async function refusalOf(response: Response, url: URL): Promise<ApiError> {
  const { status } = response;
  const text = await response.text().catch(() => '');
  const parsed = problem.safeParse(parsedBody(text));
  const retryAfterS = Number(response.headers.get('retry-after') ?? Number.NaN);
  const again = Number.isFinite(retryAfterS) ? { retryAfterS } : {};
  if (!parsed.success) {
    return new ApiError(`${url.origin} answered ${status} and no problem document: is it the API of onqueue?`, {
      status,
      ...again,
    });
  }
  const { detail, code, errors = [], request_id } = parsed.data;
  const lines = [
    `${detail} (${code}, ${status})`,
    ...errors.map((error) => `  ${error.pointer || '/'}: ${error.detail}`),
    ...(again.retryAfterS === undefined ? [] : [`  Worth trying again in ${retryAfterS} s.`]),
    ...(status === 401 ? ['  Name a key with --key or ONQUEUE_API_KEY.'] : []),
    ...(request_id === undefined ? [] : [`  request_id: ${request_id}`]),
  ];
  return new ApiError(lines.join('\n'), { status, ...again, problem: parsed.data });
}

function parsedBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

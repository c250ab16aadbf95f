import { z } from 'zod';

/**
 * Every error that the API answers, RFC 9457. `docs/problems.md` is generated from this table, and a test keeps the
 * two equal. `type` is a URN made of the code; `code` is what a program should compare.
 */
export const PROBLEMS = {
  invalid_request: {
    status: 400,
    title: 'The request is not valid.',
    about:
      'The body or a parameter breaks the schema. `errors` names each offending place by JSON pointer. Mend it and send again; the same request will always be refused.',
  },
  malformed_json: {
    status: 400,
    title: 'The body is not JSON.',
    about:
      'The body could not be parsed as UTF-8 JSON (RFC 8259). `NaN`, `Infinity`, comments and trailing commas are not JSON.',
  },
  json_too_complex: {
    status: 400,
    title: 'The JSON is nested too deeply or has too many values.',
    about:
      'Refused before parsing. The limits are `ONQUEUE_MAX_JSON_DEPTH`, `ONQUEUE_MAX_JSON_NODES` and `ONQUEUE_MAX_JSON_KEYS`. Flatten the rows, or send fewer rows a job.',
  },
  too_many_rows: {
    status: 400,
    title: 'The job has too many rows.',
    about: 'A job takes at most `ONQUEUE_MAX_ROWS_PER_JOB` rows. Split the rows over several jobs.',
  },
  webhooks_not_configured: {
    status: 400,
    title: 'This server cannot sign webhooks.',
    about:
      'The job names a `webhook`, but no `ONQUEUE_WEBHOOK_SECRET` is set. Set it on the API and the workers, or poll instead.',
  },
  digest_mismatch: {
    status: 400,
    title: 'The content is not what its digest says.',
    about:
      'The SHA-256 of what arrived is another than that of the `Content-Digest` (RFC 9530) or of the body. Nothing was stored. Send it again.',
  },
  malformed_multipart: {
    status: 400,
    title: 'The multipart body cannot be read.',
    about:
      'The body is no `multipart/form-data` (RFC 7578), or has more parts, fields or bytes in a field than are allowed (`ONQUEUE_MAX_MULTIPART_PARTS`).',
  },
  malformed_http: {
    status: 400,
    title: 'The request is not HTTP as this server speaks it.',
    about:
      'The request could not be read: an unknown method, a character that a URL or a header may not hold, no `Host`, both `Content-Length` and `Transfer-Encoding`, a broken chunk. The connection is closed.',
  },
  unauthorized: {
    status: 401,
    title: 'The request needs a valid API key.',
    about:
      'There is no key, it is none, it was revoked, or it has expired; `WWW-Authenticate` tells the first from the others (RFC 6750). Send `Authorization: Bearer oq_…`. An unknown key and a wrong secret are answered alike.',
  },
  insufficient_scope: {
    status: 403,
    title: 'The API key may not do this.',
    about:
      'The key is valid and lacks the scope that `detail` and `WWW-Authenticate` name. Use another key, or have an operator give this one the scope.',
  },
  tenant_not_found: {
    status: 404,
    title: 'There is no such tenant.',
    about: 'No tenant has this id. `GET /admin/tenants` lists them.',
  },
  tenant_exists: {
    status: 409,
    title: 'The tenant exists already.',
    about: 'Another tenant has this id. Change that one, or choose another id.',
  },
  tenant_in_use: {
    status: 409,
    title: 'The tenant cannot be deleted.',
    about: 'Some of its keys can be used, or it is the default tenant. Revoke its keys first.',
  },
  tenants_full: {
    status: 409,
    title: 'There are as many tenants as there may be.',
    about: 'There are `ONQUEUE_MAX_TENANTS` tenants. Delete one that is not needed.',
  },
  key_not_found: {
    status: 404,
    title: 'There is no such API key.',
    about: 'No key has this id. `GET /admin/keys` lists them. Ids stand between the second and the third `_` of a key.',
  },
  key_revoked: {
    status: 409,
    title: 'The API key was revoked.',
    about: 'A revoked key is neither changed nor rotated. Create another.',
  },
  keys_full: {
    status: 409,
    title: 'There are as many API keys as there may be.',
    about: 'There are `ONQUEUE_MAX_API_KEYS` keys that can be used. Revoke some that are not needed.',
  },
  model_not_found: {
    status: 404,
    title: 'There is no such model.',
    about: 'No worker has ever published a model of this name. `GET /models` lists those that are known.',
  },
  version_not_found: {
    status: 404,
    title: 'The model has no such version.',
    about: '`GET /models/{name}` lists the versions that are known.',
  },
  job_not_found: {
    status: 404,
    title: 'There is no such job.',
    about:
      'The id is unknown, or belongs to somebody else. One that is older than `ONQUEUE_RETENTION_S` is answered `job_gone`.',
  },
  job_gone: {
    status: 410,
    title: 'The job is there no more.',
    about:
      'It was deleted, at `removed_at`; that is remembered for 30 days. Or it is past its retention: an id carries when its job was created, and `removed_after` is the earliest time at which such a job has been forgotten (`ONQUEUE_RETENTION_S` later). An id that old is answered alike whether or not there ever was a job of it.',
  },
  file_not_found: {
    status: 404,
    title: 'There is no such file.',
    about:
      'The id is unknown, belongs to somebody else, or the file is past its `expires_at`: files are kept for `ONQUEUE_FILE_TTL_S`. A file that is still being uploaded has no content yet.',
  },
  not_found: { status: 404, title: 'There is nothing here.', about: 'No route has this path.' },
  method_not_allowed: {
    status: 405,
    title: 'The method is not allowed here.',
    about: 'The path exists, the method does not. `Allow` lists those that do.',
  },
  request_timeout: {
    status: 408,
    title: 'The request took too long to arrive.',
    about: 'The headers arrive within 10 s, a whole request within 60 s. The connection is closed.',
  },
  job_ended: {
    status: 409,
    title: 'The job has ended already.',
    about: 'Only a job that is queued or running can be canceled. `GET /jobs/{id}` tells how it ended.',
  },
  job_not_finished: {
    status: 409,
    title: 'The job has not ended.',
    about:
      'Only a job that has ended has a result, and only such a job can be deleted. Ask again after `Retry-After`, hold the request with `?wait=`, or cancel the job first.',
  },
  job_without_rows: {
    status: 409,
    title: 'The job ended without any rows.',
    about:
      'It was canceled, expired or timed out before a row was scored, so there are no lines to send. The detail says why it ended; `GET /jobs/{id}/result` as JSON has it as `error`.',
  },
  job_not_retryable: {
    status: 409,
    title: 'The job cannot be retried.',
    about:
      'Only a job that `failed`, `expired` or was `canceled` can be run again. Post a new job to score the same rows once more.',
  },
  version_gone: {
    status: 410,
    title: 'The version is not served any more.',
    about:
      'The version, or every version of the model, has been unloaded by an operator or by the version policy, or was removed from the model repository; `detail` says which. `GET /models/{name}/versions` lists what there is. Jobs that were accepted before are served until the version is drained.',
  },
  upload_incomplete: {
    status: 409,
    title: 'The upload is not complete.',
    about:
      'Parts are numbered from 1 without a gap; `GET /uploads/{id}` lists those that have arrived. Send what is missing, then complete it again.',
  },
  upload_ended: {
    status: 409,
    title: 'The upload is complete already.',
    about: 'Parts of a complete upload cannot be changed. Upload another file.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'The idempotency key belongs to another request.',
    about:
      'Within `ONQUEUE_IDEMPOTENCY_TTL_S` the same `Idempotency-Key` came with another body. Send the first body again to get its job, or use a new key.',
  },
  payload_too_large: {
    status: 413,
    title: 'The body is too large.',
    about:
      'A body has at most `ONQUEUE_MAX_BODY_BYTES` bytes, a file `ONQUEUE_MAX_FILE_BYTES`, a part of an upload `ONQUEUE_MAX_FILE_PART_BYTES`. Send fewer rows a job, smaller images, or larger files in parts.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The content type is not supported.',
    about:
      'Send `Content-Type: application/json`, in UTF-8 and without a `Content-Encoding`; a job may be `multipart/form-data` as well.',
  },
  expectation_failed: {
    status: 417,
    title: 'The expectation cannot be met.',
    about: 'Of `Expect`, only `100-continue` is understood. Send the request without it.',
  },
  rate_limited: {
    status: 429,
    title: 'Rows come faster than the key allows.',
    about:
      'The bucket of the key has too few rows left for this job (`limits` of the key). Nothing was stored. `Retry-After` is when it would pass; `RateLimit` and `RateLimit-Policy` say what is left of what.',
  },
  quota_exceeded: {
    status: 429,
    title: 'The quota of the tenant is used up.',
    about:
      'The jobs or rows that the tenant may post in a day, UTC (`quotas` of the tenant), do not suffice for this one. Nothing was stored. `Retry-After` is the time to the next day.',
  },
  deadline_unmeetable: {
    status: 429,
    title: 'The job would expire before its turn comes.',
    about:
      'Its `expires_in` is shorter than what the jobs before it take at best: those next in the queue and your own of no lower priority, at the best rate of the last half minute. Nothing was stored. Try again after `Retry-After`, or allow more time. It is never answered while nothing was measured.',
  },
  backlog_full: {
    status: 429,
    title: 'The model has too much work waiting.',
    about:
      'The jobs, rows or bytes that wait for this model have reached their cap (`ONQUEUE_BACKLOG_MAX_JOBS`, `_ROWS`, `_BYTES`), or are more than drains within `ONQUEUE_MAX_QUEUE_WAIT_S`. Nothing was stored. `Retry-After` is computed from how fast the backlog drains.',
  },
  files_full: {
    status: 429,
    title: 'There are too many files.',
    about:
      'The files and uploads of the tenant have reached `ONQUEUE_MAX_FILES` or `ONQUEUE_MAX_FILES_BYTES`. Nothing was stored. Delete some, or wait until they expire.',
  },
  headers_too_large: {
    status: 431,
    title: 'The URL or the headers are too large.',
    about: 'The URL and the headers have at most 16 KiB together. The connection is closed.',
  },
  internal_error: {
    status: 500,
    title: 'Something broke on our side.',
    about: 'This is a bug. The log line with the same `request_id` says more.',
  },
  model_unavailable: {
    status: 503,
    title: 'The model cannot be used now.',
    about:
      'The model has failed too often of late, and every worker that serves it leaves it alone for a while (its circuit is open). Nothing was stored; jobs that were accepted before wait. `Retry-After` is when the first worker tries it again. Other models, and models with `fallbacks` that answer in their place, are not affected.',
  },
  lane_draining: {
    status: 503,
    title: 'The lane takes no jobs now.',
    about:
      "An operator lets the model's lane run empty (`POST /admin/models/{name}/lanes/{lane}/drain`). Nothing was stored. `resume` opens it again; `GET /models/{name}` shows the states of its lanes.",
  },
  storage_unavailable: {
    status: 503,
    title: 'The job store cannot be used now.',
    about:
      'Redis is away, does not answer in time, or refuses a command (a permission that is missing, too many clients); the log tells the last apart, as an error. A job posted meanwhile may or may not have been stored; no 202 was sent for it. Try again after `Retry-After`.',
  },
  storage_full: {
    status: 503,
    title: 'The job store is full.',
    about:
      'Redis has reached `maxmemory`, or the share of it that new jobs may fill (`ONQUEUE_MEMORY_LIMIT_PERCENT`). Nothing was stored; work that was accepted goes on draining.',
  },
  storage_unsuitable: {
    status: 503,
    title: 'The job store cannot be trusted with jobs.',
    about:
      'Redis has a `maxmemory-policy` other than `noeviction`, so that it might forget a job after the 202. Nothing was stored. Jobs are taken again as soon as the policy is mended; `/readyz` tells what it is.',
  },
  endpoint_not_found: {
    status: 404,
    title: 'There is no such endpoint.',
    about: 'No webhook endpoint of yours has this id. `GET /webhooks/endpoints` lists them.',
  },
  endpoints_full: {
    status: 409,
    title: 'There are as many endpoints as there may be.',
    about: 'A tenant has at most `ONQUEUE_WEBHOOK_MAX_ENDPOINTS` webhook endpoints. Delete one, or change one.',
  },
  delivery_not_found: {
    status: 404,
    title: 'There is no such delivery.',
    about:
      'No delivery of yours has this id, or it is forgotten: `ONQUEUE_WEBHOOK_RETENTION_S` after its last attempt, or when there are more than `ONQUEUE_WEBHOOK_MAX_DELIVERIES`.',
  },
  delivery_pending: {
    status: 409,
    title: 'The delivery is on its way.',
    about:
      'It has attempts left, and is sent again by itself. Only one that was delivered or has failed can be sent anew.',
  },
  record_too_new: {
    status: 503,
    title: 'The job was stored by a newer version.',
    about:
      'This API process is older than the one that stored the job, as happens while versions are rolled out or back. The job is as it was; a newer process answers for it. Try again after `Retry-After`.',
  },
  too_many_readers: {
    status: 503,
    title: 'Too many streams of events are open.',
    about:
      'At most `ONQUEUE_MAX_EVENT_READERS` streams of `GET /jobs/{id}/events` are held open by one API process. Poll the job, or try again after `Retry-After`.',
  },
  too_many_waiters: {
    status: 503,
    title: 'Too many requests are waiting.',
    about:
      'At most `ONQUEUE_MAX_WAITERS` long polls are held open by one API process. Poll without `wait`, or try again after `Retry-After`.',
  },
} as const satisfies Record<string, { status: number; title: string; about: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** One offending place in a request. */
export const problemError = z.object({
  /** JSON pointer (RFC 6901) into the body, or `?name` for a query parameter. */
  pointer: z.string(),
  detail: z.string(),
});
export type ProblemError = z.infer<typeof problemError>;

/** The body of every error answer, `application/problem+json`. */
export const problemDocument = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  request_id: z.string(),
  errors: z.array(problemError).optional(),
  /** Of `job_gone`: when the job was created, and when it was deleted or the earliest time at which it was forgotten. */
  created_at: z.iso.datetime().optional(),
  removed_at: z.iso.datetime().optional(),
  removed_after: z.iso.datetime().optional(),
});
export type ProblemDocument = z.infer<typeof problemDocument>;

/** Characters. Both quote what was sent, which may be a key of 16 MB. */
const MAX_DETAIL = 500;
const MAX_PLACE = 200;

type ProblemMembers = Pick<ProblemDocument, 'created_at' | 'removed_at' | 'removed_after'>;

/** An error that becomes an answer; whoever can say what is wrong throws it, the problem handler renders it. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: ProblemError[] | undefined;
  readonly retryAfterS: number | undefined;
  readonly members: ProblemMembers;
  /** Somebody has to mend something before it goes away: logged as an error, whatever the status. */
  readonly needsOperator: boolean;
  /** `WWW-Authenticate`, RFC 6750. */
  readonly challenge: string | undefined;

  constructor(
    code: ProblemCode,
    detail: string,
    options: {
      errors?: ProblemError[];
      retryAfterS?: number;
      cause?: unknown;
      needsOperator?: boolean;
      members?: ProblemMembers;
      challenge?: string;
    } = {},
  ) {
    super(shorten(detail, MAX_DETAIL), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Problem';
    this.code = code;
    this.errors = options.errors?.map(({ pointer, detail }) => ({
      pointer: shorten(pointer, MAX_PLACE),
      detail: shorten(detail, MAX_PLACE),
    }));
    this.retryAfterS = options.retryAfterS;
    this.needsOperator = options.needsOperator ?? false;
    this.members = options.members ?? {};
    this.challenge = options.challenge;
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }

  toDocument(requestId: string): ProblemDocument {
    return {
      type: `urn:onqueue:problem:${this.code}`,
      title: PROBLEMS[this.code].title,
      status: this.status,
      detail: this.message,
      code: this.code,
      request_id: requestId,
      ...(this.errors ? { errors: this.errors } : {}),
      ...this.members,
    };
  }
}

/** RFC 6901: `~` and `/` are escaped inside a segment. Segments that nobody would read to their end are cut. */
export function jsonPointer(path: readonly PropertyKey[]): string {
  return path
    .map((segment) => `/${shorten(String(segment), MAX_PLACE).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}

/** Never between the halves of a character outside the BMP: what is left must be UTF-8. */
function shorten(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return text;
  return `${text.slice(0, maxCharacters - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

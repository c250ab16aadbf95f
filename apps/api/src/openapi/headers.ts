import { z } from 'zod';

/** Headers of answers. One that is optional here comes with some answers of its kind; `description` says with which. */

const seconds = z.string().regex(/^\d+$/);

export const requestId = {
  'X-Request-Id': z
    .string()
    .regex(/^[\w.-]{1,128}$/)
    .meta({
      description: 'That of the request where it had a sane one; also in the log.',
      example: 'req_6f1ed002ab55',
    }),
};

export const etag = {
  ETag: z
    .string()
    .regex(/^"[\w-]+"$/)
    .meta({ description: 'Of this answer, for `If-None-Match`.', example: '"k3X9c0qP5tQm1v8Zb2Lr7wYd"' }),
};

export const location = {
  Location: z
    .string()
    .min(1)
    .meta({ description: 'Where to look for it.', example: '/jobs/job_038g18kw5j000yedna7n93cy7skaf' }),
};

export const retryAfter = {
  'Retry-After': seconds.meta({ description: 'Seconds after which it is worth asking again.', example: '1' }),
};

export const mayRetryAfter = {
  'Retry-After': seconds.optional().meta({ description: 'Seconds, where asking again is of use.', example: '1' }),
};

export const created = {
  'Preference-Applied': z
    .string()
    .regex(/^wait=\d+$/)
    .optional()
    .meta({
      description: 'The `Prefer: wait=N` that was followed, cut to what the server allows.',
      example: 'wait=10',
    }),
  'Idempotency-Replayed': z
    .literal('true')
    .optional()
    .meta({ description: 'An earlier request with this `Idempotency-Key` has made the job.', example: 'true' }),
};

export const contentDigest = {
  'Content-Digest': z
    .string()
    .regex(/^sha-256=:[A-Za-z0-9+/]+=*:$/)
    .meta({
      description: 'RFC 9530, of the whole file.',
      example: 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:',
    }),
};

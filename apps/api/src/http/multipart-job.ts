import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { Problem } from '@onqueue/shared';
import busboy from 'busboy';
import type { Request, RequestHandler } from 'express';
import { parseJson } from './json-body.ts';
import type { JsonLimits } from './json-scan.ts';

export interface MultipartJobOptions extends JsonLimits {
  /** Of the whole body. */
  maxBytes: number;
  maxParts: number;
}

/** Of a part that is text: an envelope with its metadata, or a name. */
const MAX_FIELD_BYTES = 256 * 1024;
/** Parts that may stand for a member of the job each; anything else goes into the part `job`. */
const TEXT_MEMBERS = new Set(['model', 'version', 'lane', 'service_class']);

/**
 * Reads `multipart/form-data` into `req.body`, as if the same job had come as JSON: each part `image` is a row, in their order; `job`
 * is a JSON object with everything else, and `model`, `version`, `lane` and `service_class` may be parts of their own.
 */
export function multipartJob(options: MultipartJobOptions): RequestHandler {
  return async (request, response, next) => {
    request.body = await readJob(request, options);
    response.locals.bodyReadAtMs = performance.now();
    next();
  };
}

export function isMultipart(request: Request): boolean {
  return /^multipart\/form-data\s*;/i.test(request.get('content-type') ?? '');
}

async function readJob(request: Request, options: MultipartJobOptions): Promise<unknown> {
  const { maxBytes, maxParts } = options;
  if (Number(request.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const form = openForm(request, options);
  const images: Promise<Buffer>[] = [];
  const envelopes: Promise<Buffer>[] = [];
  const members = new Map<string, string>();
  let fault: Problem | undefined;
  const refuse = (problem: Problem) => {
    fault ??= problem;
  };

  form.on('file', (name, stream) => {
    if (name !== 'image' && name !== 'job') {
      stream.resume();
      refuse(malformed(`There is no part "${name}" with a file; rows are parts "image".`));
      return;
    }
    stream.on('limit', () => refuse(tooLarge(maxBytes)));
    const content = collect(stream);
    if (name === 'image') images.push(content);
    // Whoever gives a part a file name sends it as one.
    else envelopes.push(content);
  });
  form.on('field', (name, value, { nameTruncated, valueTruncated }) => {
    if (nameTruncated || valueTruncated) refuse(malformed('A field is too long.'));
    else if (name !== 'job' && !TEXT_MEMBERS.has(name)) {
      refuse(malformed(`There is no part "${name}"; put it into the part "job", which is JSON.`));
    } else if (members.has(name)) refuse(malformed(`The part "${name}" is there twice.`));
    else members.set(name, value);
  });
  for (const event of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
    form.on(event, () => refuse(malformed(`There are more than ${maxParts} parts (ONQUEUE_MAX_MULTIPART_PARTS).`)));
  }

  await feed(request, form, maxBytes);
  const rows = await Promise.all(images);
  for (const bytes of await Promise.all(envelopes)) {
    if (members.has('job')) refuse(malformed('The part "job" is there twice.'));
    members.set('job', bytes.toString());
  }
  if (fault) throw fault;
  return toBody(members, rows, options);
}

function openForm(request: Request, { maxBytes, maxParts }: MultipartJobOptions): busboy.Busboy {
  try {
    return busboy({
      headers: request.headers,
      limits: {
        parts: maxParts,
        files: maxParts,
        fields: maxParts,
        fileSize: maxBytes,
        fieldSize: MAX_FIELD_BYTES,
        fieldNameSize: 100,
        headerPairs: 20,
      },
    });
  } catch (cause) {
    throw malformed((cause as Error).message, cause);
  }
}

/** Hands the body on until it ends, breaks off, or is too large. */
async function feed(request: Request, form: busboy.Busboy, maxBytes: number): Promise<void> {
  let broken: unknown;
  form.on('error', (error) => {
    broken ??= error;
  });
  const closed = once(form, 'close').catch((error: unknown) => {
    broken ??= error;
  });
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      form.destroy();
      throw tooLarge(maxBytes);
    }
    if (broken) break;
    if (!form.write(chunk)) await Promise.race([once(form, 'drain').catch(() => {}), closed]);
  }
  if (!broken) form.end();
  await closed;
  if (broken) throw malformed((broken as Error).message, broken);
}

async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of stream) chunks.push(chunk as Buffer);
  } catch {
    // The form says what is wrong with it.
  }
  return Buffer.concat(chunks);
}

function toBody(members: ReadonlyMap<string, string>, images: readonly Buffer[], limits: JsonLimits): unknown {
  const { job, ...texts } = Object.fromEntries(members);
  const envelope = job === undefined ? {} : parseJson(Buffer.from(job), limits);
  if (typeof envelope !== 'object' || envelope === null || Array.isArray(envelope)) {
    throw malformed('The part "job" is not a JSON object.');
  }
  const twice = Object.keys(texts).find((name) => Object.hasOwn(envelope, name));
  if (twice !== undefined) throw malformed(`"${twice}" is both a part and in the part "job".`);
  if (images.length === 0) return { ...envelope, ...texts };
  if (Object.hasOwn(envelope, 'inputs') || Object.hasOwn(envelope, 'input')) {
    throw malformed('Rows are either parts "image" or in the part "job", not both.');
  }
  return { ...envelope, ...texts, inputs: images.map((bytes) => ({ image: bytes.toString('base64') })) };
}

function malformed(detail: string, cause?: unknown): Problem {
  return new Problem('malformed_multipart', detail, cause === undefined ? {} : { cause });
}

function tooLarge(maxBytes: number): Problem {
  return new Problem('payload_too_large', `The body has more than ${maxBytes} bytes (ONQUEUE_MAX_BODY_BYTES).`);
}

import { jsonPointer, Problem } from '@onqueue/shared';
import express, { type RequestHandler } from 'express';
import { countMembers, duplicateKey } from './json-members.ts';
import { type JsonLimits, scanJson } from './json-scan.ts';

export interface JsonBodyOptions extends JsonLimits {
  maxBytes: number;
}

/**
 * Reads a JSON body into `req.body`: content type, size, depth, number of values, encoding, syntax, double and dangerous keys,
 * each refused by its own problem and each before the next, dearer step.
 */
export function jsonBody({ maxBytes, ...limits }: JsonBodyOptions): RequestHandler[] {
  const readBytes = express.raw({ type: () => true, limit: maxBytes, inflate: false });
  return [
    (request, _response, next) => {
      if (!isJson(request.headers['content-type'])) {
        const got = request.headers['content-type'] ?? 'none';
        throw new Problem(
          'unsupported_media_type',
          `Send Content-Type: application/json (UTF-8); this request has ${got}.`,
        );
      }
      next();
    },
    readBytes,
    (request, response, next) => {
      response.locals.bodyReadAtMs = performance.now();
      // express.raw leaves no buffer when there is no body at all.
      request.body = parseJson(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0), limits);
      next();
    },
  ];
}

function isJson(contentType: string | undefined): boolean {
  const [type, ...parameters] = (contentType ?? '').toLowerCase().split(';');
  if (type?.trim() !== 'application/json') return false;
  return parameters.every((parameter) => {
    const [name, value] = parameter.split('=').map((part) => part.trim());
    return name !== 'charset' || value?.replaceAll('"', '') === 'utf-8' || value === 'utf8';
  });
}

/** @throws Problem json_too_complex, malformed_json, invalid_request */
export function parseJson(bytes: Buffer, limits: JsonLimits): unknown {
  const { passed, members } = scanJson(bytes, limits);
  if (passed === 'depth') {
    throw new Problem('json_too_complex', `The JSON nests deeper than ${limits.maxDepth} levels.`);
  }
  if (passed === 'nodes') throw new Problem('json_too_complex', `The JSON holds more than ${limits.maxNodes} values.`);
  if (passed === 'keys') throw new Problem('json_too_complex', `The JSON holds more than ${limits.maxKeys} keys.`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Problem('malformed_json', 'The body is not UTF-8.', { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Problem('malformed_json', `The body is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (countMembers(value) !== members) refuseDuplicateKey(bytes);
  // A key can only be spelled with these; most bodies have neither and skip the walk.
  if (text.includes('__proto__') || text.includes('\\u')) refuseProtoKeys(value, []);
  return value;
}

/** Two readers may take different ones of the two: a proxy that checks the first `model`, and we the last. */
function refuseDuplicateKey(bytes: Buffer): void {
  const path = duplicateKey(bytes);
  if (path === undefined) throw new Error('A key is there twice and cannot be found. This is a bug.');
  throw new Problem('invalid_request', `The key "${String(path.at(-1))}" is there twice.`, {
    errors: [{ pointer: jsonPointer(path), detail: 'this key is there twice' }],
  });
}

function refuseProtoKeys(value: unknown, path: PropertyKey[]): void {
  if (typeof value !== 'object' || value === null) return;
  if (Object.hasOwn(value, '__proto__')) {
    throw new Problem('invalid_request', 'The key "__proto__" is not allowed.', {
      errors: [{ pointer: jsonPointer([...path, '__proto__']), detail: 'this key is not allowed' }],
    });
  }
  for (const [key, member] of Object.entries(value)) refuseProtoKeys(member, [...path, key]);
}

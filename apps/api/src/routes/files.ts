import { pipeline } from 'node:stream/promises';
import { type FilePart, type FileRecord, type filePart, Problem } from '@onqueue/shared';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { tenantOf } from '../auth/caller.ts';
import type { Files } from '../files.ts';
import { contentSha256 } from '../http/content-digest.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { validate } from '../http/validation.ts';
import type { MemoryGuard } from '../memory-guard.ts';
import type { file, upload } from '../openapi/file-operations.ts';

export interface FileRoutesOptions {
  files: Files;
  memory: MemoryGuard;
  readBody: RequestHandler[];
  publicUrl: string | undefined;
}

const mediaType = z.string().regex(/^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/, 'a media type such as image/png');
/** The body of `POST /uploads`. */
export const uploadRequest = z.strictObject({
  content_type: mediaType.optional().describe('Of the whole file; `application/octet-stream` when left out.'),
});
/** The body of `POST /uploads/{id}/complete`. */
export const completeRequest = z.strictObject({
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')
    .optional()
    .describe('Of the whole file; it is refused when it is another.'),
});

/** Files that jobs refer to: uploaded at once (`POST /files`), or in parts that may be sent again (`/uploads`). */
export function fileRoutes({ files, memory, readBody, publicUrl = '' }: FileRoutesOptions): Router {
  const router = Router();
  const none = queryParameters();
  const view = (record: FileRecord) => fileView(record, publicUrl);
  const viewUpload = async (tenant: string, record: FileRecord) =>
    uploadView(record, await files.parts(tenant, record.id), files.limits, publicUrl);

  router
    .route('/files')
    .post(none, async (request, response) => {
      memory.assertAdmits();
      assertPlainBody(request);
      const stored = await files.upload(
        tenantOf(response),
        contentOf(request),
        typeOf(request),
        contentSha256(request),
      );
      const body = view(stored);
      response.status(201).location(body.urls.self).json(body);
    })
    .all(otherMethods('POST'));
  router
    .route('/files/:id')
    .get(none, async (request, response) => {
      response.set('Cache-Control', 'no-store').json(view(await files.read(tenantOf(response), idOf(request))));
    })
    .delete(none, async (request, response) => {
      await files.delete(tenantOf(response), idOf(request));
      response.status(204).end();
    })
    .all(otherMethods('GET', 'DELETE'));
  router
    .route('/files/:id/content')
    .get(none, (request, response) => sendContent(files, request, response))
    .all(otherMethods('GET'));

  router
    .route('/uploads')
    .post(none, ...readBody, async (request, response) => {
      memory.assertAdmits();
      const { content_type = OCTETS } = validate(uploadRequest, request.body, 'The upload');
      const begun = await files.begin(tenantOf(response), content_type);
      response
        .status(201)
        .location(`${publicUrl}/uploads/${begun.id}`)
        .json(await viewUpload(tenantOf(response), begun));
    })
    .all(otherMethods('POST'));
  router
    .route('/uploads/:id')
    .get(none, async (request, response) => {
      const record = await files.read(tenantOf(response), idOf(request));
      response.set('Cache-Control', 'no-store').json(await viewUpload(tenantOf(response), record));
    })
    .delete(none, async (request, response) => {
      await files.delete(tenantOf(response), idOf(request));
      response.status(204).end();
    })
    .all(otherMethods('GET', 'DELETE'));
  router
    .route('/uploads/:id/parts/:number')
    .put(none, async (request, response) => {
      memory.assertAdmits();
      assertPlainBody(request);
      const number = partNumber(request, files.limits.maxFileParts);
      const sha256 = contentSha256(request);
      response.json(
        partView(await files.putPart(tenantOf(response), idOf(request), number, contentOf(request), sha256)),
      );
    })
    .all(otherMethods('PUT'));
  router
    .route('/uploads/:id/complete')
    .post(none, ...readBody, async (request, response) => {
      const { sha256 } = validate(completeRequest, request.body, 'The end of the upload');
      const body = view(await files.complete(tenantOf(response), idOf(request), sha256));
      response.status(201).location(body.urls.self).json(body);
    })
    .all(otherMethods('POST'));
  return router;
}

const OCTETS = 'application/octet-stream';

/** As a download: what a tenant has uploaded must not be a page of ours in somebody's browser. */
async function sendContent(files: Files, request: Request, response: Response): Promise<void> {
  const { file: record, content } = await files.content(tenantOf(response), idOf(request));
  response.set({
    'Content-Type': record.content_type,
    'Content-Length': String(record.bytes),
    'Content-Disposition': 'attachment',
    'Content-Digest': `sha-256=:${Buffer.from(record.sha256 ?? '', 'hex').toString('base64')}:`,
    'Cache-Control': 'no-store',
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  // A store that breaks off in the middle ends the connection: the client sees fewer bytes than were promised.
  await pipeline(content, response).catch(() => response.destroy());
}

/** Left open when it is not read to its end, so that its sender can be told why. */
function contentOf(request: Request): AsyncIterable<Uint8Array> {
  return request.iterator({ destroyOnReturn: false });
}

function idOf(request: Request): string {
  return String(request.params.id);
}

function typeOf(request: Request): string {
  const type = request.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  return mediaType.safeParse(type).data ?? OCTETS;
}

/** What is stored is what was sent: neither packed, nor a form around it. */
function assertPlainBody(request: Request): void {
  const encoding = request.get('content-encoding');
  if (encoding !== undefined && encoding !== 'identity') {
    throw new Problem('unsupported_media_type', 'Send the content without a Content-Encoding.');
  }
  if (typeOf(request).startsWith('multipart/')) {
    throw new Problem('unsupported_media_type', 'Send the bytes of the file as the body, not as a form.');
  }
}

function partNumber(request: Request, max: number): number {
  const text = String(request.params.number);
  const number = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= max) return number;
  throw new Problem('invalid_request', `A part has a number from 1 to ${max} (ONQUEUE_MAX_FILE_PARTS).`);
}

function fileView(record: FileRecord, publicUrl: string): z.infer<typeof file> {
  const self = `${publicUrl}/files/${record.id}`;
  return {
    id: record.id,
    object: 'file',
    status: record.status,
    content_type: record.content_type,
    bytes: record.bytes ?? null,
    sha256: record.sha256 ?? null,
    created_at: new Date(record.created_ms).toISOString(),
    expires_at: new Date(record.expires_ms).toISOString(),
    urls: { self, content: `${self}/content` },
  };
}

function partView({ number, bytes, sha256 }: FilePart): z.infer<typeof filePart> {
  return { number, bytes, sha256 };
}

function uploadView(
  record: FileRecord,
  parts: FilePart[],
  { maxFilePartBytes, maxFileParts }: Files['limits'],
  publicUrl: string,
): z.infer<typeof upload> {
  const self = `${publicUrl}/uploads/${record.id}`;
  return {
    id: record.id,
    object: 'upload',
    status: record.status,
    content_type: record.content_type,
    created_at: new Date(record.created_ms).toISOString(),
    expires_at: new Date(record.expires_ms).toISOString(),
    parts: parts.map(partView),
    max_part_bytes: maxFilePartBytes,
    max_parts: maxFileParts,
    urls: {
      self,
      complete: `${self}/complete`,
      parts: `${self}/parts/{number}`,
      file: `${publicUrl}/files/${record.id}`,
    },
  };
}

import { filePart } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import { completeRequest, uploadRequest } from '../routes/files.ts';
import * as examples from './examples.ts';
import { contentDigest, location } from './headers.ts';
import { json, problems, STORAGE } from './responses.ts';

const status = z.enum(['uploading', 'ready']);
const shared = {
  id: z.string(),
  status,
  content_type: z.string(),
  created_at: z.iso.datetime(),
  expires_at: z.iso.datetime(),
};

export const file = z
  .object({
    ...shared,
    object: z.literal('file'),
    bytes: z.number().int().nullable(),
    sha256: z.string().nullable(),
    urls: z.object({ self: z.string(), content: z.string() }),
  })
  .meta({ id: 'File', description: 'A file that jobs can refer to until it expires.' });

export const upload = z
  .object({
    ...shared,
    object: z.literal('upload'),
    parts: z.array(filePart).describe('Those that have arrived; none any more when it is complete.'),
    max_part_bytes: z.number().int(),
    max_parts: z.number().int(),
    urls: z.object({ self: z.string(), complete: z.string(), parts: z.string(), file: z.string() }),
  })
  .meta({ id: 'Upload', description: 'A file that arrives in parts.' });

export const part = filePart.meta({ id: 'FilePart' });
const id = z.string().meta({ example: 'file_6f1ed002ab5595859014ebf0951522d9' });
const path = z.object({ id });
const binary = { schema: z.string().meta({ format: 'binary' }), example: examples.content };
/** Of any type: that of the file, or of whatever sends it. */
const bytes = { '*/*': binary };
const digest = z.object({
  'Content-Digest': z.string().optional().meta({
    description: 'RFC 9530: `sha-256=:<base64>:`. What arrives is refused when it is something else.',
    example: 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:',
  }),
});
const tags = ['Files'];

export const filePaths: ZodOpenApiPathsObject = {
  '/files': {
    post: {
      operationId: 'uploadFile',
      tags,
      summary: 'Upload a file at once',
      description: 'The body is the content, of any type; it is stored as it arrives.',
      requestParams: { header: digest },
      requestBody: { required: true, content: bytes },
      responses: {
        201: json(file, 'The file is stored.', examples.storedFile, location),
        ...problems(
          ['invalid_request', 'digest_mismatch', 'payload_too_large', 'unsupported_media_type'],
          ['files_full', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
  '/files/{id}': {
    get: {
      operationId: 'readFile',
      tags,
      summary: 'Read what is known of a file',
      requestParams: { path },
      responses: {
        200: json(file, 'The file.', examples.storedFile),
        ...problems(['invalid_request', 'file_not_found', ...STORAGE]),
      },
    },
    delete: {
      operationId: 'deleteFile',
      tags,
      summary: 'Delete a file',
      description: 'Jobs that were posted with it are not affected: they have its content.',
      requestParams: { path },
      responses: {
        204: { description: 'It is gone.' },
        ...problems(['invalid_request', 'file_not_found', ...STORAGE]),
      },
    },
  },
  '/files/{id}/content': {
    get: {
      operationId: 'readFileContent',
      tags,
      summary: 'Read the content of a file',
      requestParams: { path },
      responses: {
        200: {
          description: 'As it was uploaded, with its `Content-Digest`.',
          headers: z.object(contentDigest),
          content: bytes,
        },
        ...problems(['invalid_request', 'file_not_found', ...STORAGE]),
      },
    },
  },
  '/uploads': {
    post: {
      operationId: 'beginUpload',
      tags,
      summary: 'Begin an upload in parts',
      requestBody: {
        required: true,
        content: { 'application/json': { schema: uploadRequest, example: { content_type: 'application/x-ndjson' } } },
      },
      responses: {
        201: json(
          upload,
          'Send the parts to `urls.parts`, then post to `urls.complete`.',
          examples.begunUpload,
          location,
        ),
        ...problems(
          ['invalid_request', 'malformed_json', 'json_too_complex', 'payload_too_large', 'unsupported_media_type'],
          ['files_full', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
  '/uploads/{id}': {
    get: {
      operationId: 'readUpload',
      tags,
      summary: 'Read which parts have arrived',
      requestParams: { path },
      responses: {
        200: json(upload, 'The upload.', examples.partialUpload),
        ...problems(['invalid_request', 'file_not_found', ...STORAGE]),
      },
    },
    delete: {
      operationId: 'abortUpload',
      tags,
      summary: 'Give an upload up',
      requestParams: { path },
      responses: {
        204: { description: 'It is gone.' },
        ...problems(['invalid_request', 'file_not_found', ...STORAGE]),
      },
    },
  },
  '/uploads/{id}/parts/{number}': {
    put: {
      operationId: 'putPart',
      tags,
      summary: 'Send a part',
      description: 'Numbered from 1. A part that is sent again takes the place of the one before.',
      requestParams: { path: z.object({ id, number: z.string().regex(/^\d+$/) }), header: digest },
      requestBody: { required: true, content: bytes },
      responses: {
        200: json(part, 'The part is stored.', examples.storedPart),
        ...problems(
          ['invalid_request', 'digest_mismatch', 'file_not_found', 'upload_ended', 'payload_too_large'],
          ['unsupported_media_type', 'files_full', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
  '/uploads/{id}/complete': {
    post: {
      operationId: 'completeUpload',
      tags,
      summary: 'Put the parts together',
      description: 'Done twice, it answers the same.',
      requestParams: { path },
      requestBody: {
        required: true,
        content: { 'application/json': { schema: completeRequest, example: {} } },
      },
      responses: {
        201: json(file, 'The file is stored.', examples.storedFile, location),
        ...problems(
          ['invalid_request', 'malformed_json', 'json_too_complex', 'digest_mismatch', 'file_not_found'],
          ['upload_incomplete', 'payload_too_large', 'unsupported_media_type', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
};

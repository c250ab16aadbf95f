import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { modelOrderRequest } from '../routes/model-versions.ts';
import * as examples from './examples.ts';
import { location } from './headers.ts';
import * as replies from './replies.ts';
import { json, problems, STORAGE } from './responses.ts';

const name = { name: z.string() };

/** The life of versions. */
export const modelVersionPaths: ZodOpenApiPathsObject = {
  '/models/{name}/versions': {
    get: {
      operationId: 'listModelVersions',
      tags: ['Models'],
      summary: 'List the versions of a model: how far each is, and why',
      requestParams: { path: z.object(name) },
      responses: {
        200: json(
          replies.modelVersionList,
          'Every version that is known, the newest first.',
          examples.modelVersionList,
        ),
        ...problems(['invalid_request', 'model_not_found', ...STORAGE]),
      },
    },
  },
  '/models/{name}/versions/{version}': {
    get: {
      operationId: 'readModelVersion',
      tags: ['Models'],
      summary: 'Read how far a version is, on each worker',
      requestParams: { path: z.object({ ...name, version: z.string() }) },
      responses: {
        200: json(replies.modelVersionState, 'What the workers say of it.', examples.modelVersionState),
        ...problems(['invalid_request', 'model_not_found', 'version_not_found', ...STORAGE]),
      },
    },
  },
  '/models/{name}/load': {
    post: order(
      'loadModel',
      'Load a model or a version',
      'Also one that the version policy leaves out, if it is named.',
    ),
  },
  '/models/{name}/unload': {
    post: order(
      'unloadModel',
      'Unload a model or a version',
      'It takes no new jobs, serves those that were accepted, and leaves the memory. Until it is loaded again.',
    ),
  },
};

function order(operationId: string, summary: string, description: string): ZodOpenApiOperationObject {
  return {
    operationId,
    tags: ['Models'],
    summary,
    description: `${description} Workers obey within seconds, and those that start later too.`,
    requestParams: { path: z.object(name) },
    requestBody: {
      required: false,
      content: { 'application/json': { schema: modelOrderRequest, example: { version: '2' } } },
    },
    responses: {
      202: json(
        z.union([replies.modelVersionList, replies.modelVersionState]),
        'The order is written down. The state as it is, of the model or of the version that was named.',
        { examples: { model: examples.modelVersionList, version: examples.modelVersionState } },
        location,
      ),
      ...problems(
        ['invalid_request', 'malformed_json', 'json_too_complex', 'model_not_found', 'version_not_found'],
        ['payload_too_large', 'unsupported_media_type', 'storage_full', ...STORAGE],
      ),
    },
  };
}

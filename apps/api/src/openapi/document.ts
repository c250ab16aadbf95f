import type { ApiKeyScope } from '@onqueue/shared';
import { z } from 'zod';
import {
  createDocument,
  type oas31,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import { requiredScope } from '../auth/required-scope.ts';
import { eventWebhooks } from './event-webhooks.ts';
import { requestId } from './headers.ts';
import { paths } from './operations.ts';
import { anyRequest, problems, STORAGE } from './responses.ts';

export interface OpenApiDocumentOptions {
  version: string;
  /** Where clients reach the API; without it, where the document came from. */
  publicUrl: string | undefined;
}

/** The OpenAPI 3.1 document of this API, made of the schemas that it validates with. */
export function openApiDocument({ version, publicUrl }: OpenApiDocumentOptions): oas31.OpenAPIObject {
  return createDocument({
    openapi: '3.1.1',
    info: {
      title: 'onqueue',
      version,
      description: 'Asynchronous inference: post a job, get 202, poll or be called back.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: publicUrl ?? '/' }],
    tags: [{ name: 'Jobs' }, { name: 'Files' }, { name: 'Models' }, { name: 'Webhooks' }, { name: 'Operations' }],
    paths: withAnyRequest(paths),
    components: {
      securitySchemes: {
        ApiKey: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'oq_<env>_<id>_<secret>',
          description:
            'An API key. What stands beside it at an operation is the scope that the key needs. Not asked for where the server listens on loopback, unless `ONQUEUE_AUTH=on`.',
        },
      },
    },
    webhooks: eventWebhooks,
  });
}

/** What an operation asks of a key, told by the function that the server asks. */
function withKey(operation: ZodOpenApiOperationObject, scope: ApiKeyScope | undefined): ZodOpenApiOperationObject {
  const refusals = scope === undefined ? {} : problems(['unauthorized', 'insufficient_scope'], [...STORAGE]);
  const responses = { ...withRequestId({ ...refusals, ...operation.responses }), default: anyRequest };
  return { ...operation, responses, security: scope === undefined ? [] : [{ ApiKey: [scope] }] };
}

/** Each operation may also be answered as any request may. */
function withAnyRequest(paths: ZodOpenApiPathsObject): ZodOpenApiPathsObject {
  return Object.fromEntries(
    Object.entries(paths).map(([path, operations]) => [
      path,
      Object.fromEntries(
        Object.entries(operations).map(([method, operation]) => [
          method,
          withKey(operation, requiredScope(method.toUpperCase(), path)),
        ]),
      ),
    ]),
  );
}

/** Every answer has one, but that of a handshake: from there on the connection speaks another protocol. */
function withRequestId(responses: ZodOpenApiResponsesObject): ZodOpenApiResponsesObject {
  return Object.fromEntries(
    Object.entries(responses).map(([status, response]) => {
      const own = response.headers instanceof z.ZodObject ? response.headers : z.object({});
      return [status, status === '101' ? response : { ...response, headers: own.extend(requestId) }];
    }),
  );
}

import { z } from 'zod';
import { createDocument, type oas31, type ZodOpenApiPathsObject, type ZodOpenApiResponsesObject } from 'zod-openapi';
import { eventWebhooks } from './event-webhooks.ts';
import { requestId } from './headers.ts';
import { paths } from './operations.ts';
import { anyRequest } from './responses.ts';

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
    webhooks: eventWebhooks,
  });
}

/** Each operation may also be answered as any request may. */
function withAnyRequest(paths: ZodOpenApiPathsObject): ZodOpenApiPathsObject {
  return Object.fromEntries(
    Object.entries(paths).map(([path, operations]) => [
      path,
      Object.fromEntries(
        Object.entries(operations).map(([method, operation]) => [
          method,
          { ...operation, responses: { ...withRequestId(operation.responses), default: anyRequest } },
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

import { eventType } from '@onqueue/shared';
import { z } from 'zod';
import { createDocument, type oas31 } from 'zod-openapi';
import { paths } from './operations.ts';
import { job } from './replies.ts';

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
    tags: [{ name: 'Jobs' }, { name: 'Files' }, { name: 'Models' }, { name: 'Operations' }],
    paths,
    webhooks: {
      jobEnded: {
        post: {
          operationId: 'jobEnded',
          summary: 'A job has ended',
          description:
            'Sent to the `webhook` of a job, signed as Standard Webhooks say: `webhook-id`, `webhook-timestamp`, `webhook-signature`.',
          requestBody: { required: true, content: { 'application/json': { schema: webhookBody } } },
          responses: { '2XX': { description: 'Any of them is an acknowledgement; all else is tried again.' } },
        },
      },
    },
  });
}

const webhookBody = z
  .object({ type: eventType, timestamp: z.iso.datetime(), data: job })
  .meta({ id: 'WebhookEvent', description: 'One event; its id is in the `webhook-id` header.' });

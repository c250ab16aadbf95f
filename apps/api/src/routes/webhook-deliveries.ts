import {
  type DeliveryFilter,
  type DeliveryLog,
  type DeliveryRecord,
  deliveryStatus,
  eventType,
  isDeliveryId,
  type JobStore,
  Problem,
} from '@onqueue/shared';
import { type Request, type RequestHandler, Router } from 'express';
import { z } from 'zod';
import { tenantOf } from '../auth/caller.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { invalidRequest, validate } from '../http/validation.ts';
import type { deliveryList, deliveryView } from '../openapi/webhook-operations.ts';

export interface WebhookDeliveryRoutesOptions {
  deliveries: DeliveryLog;
  store: Pick<JobStore, 'read'>;
  readBody: readonly RequestHandler[];
  publicUrl: string | undefined;
}

const time = z.iso.datetime({ offset: true });
const endpointId = z.string().max(64);
const MAX_PAGE = 100;
const DEFAULT_PAGE = 20;

/** The parameters of `GET /webhooks/deliveries`. */
export const deliveryQuery = z.object({
  status: deliveryStatus.optional(),
  endpoint: endpointId.optional(),
  type: eventType.optional(),
  job: z.string().max(64).optional(),
  from: time.optional().describe('Made at this time or after it; with `status=failed`: failed.'),
  to: time.optional().describe('Before this time.'),
  limit: z
    .string()
    .regex(/^\d{1,3}$/)
    .optional()
    .describe(`1 to ${MAX_PAGE}; ${DEFAULT_PAGE} when left out.`),
  cursor: z.string().max(200).optional().describe('`next_cursor` of the page before.'),
});

/** The body of `POST /webhooks/deliveries/replay`. */
export const replayRequest = z.strictObject({
  from: time,
  to: time,
  endpoint_id: endpointId.optional(),
  type: eventType.optional(),
});

/** The body of `POST /webhooks/deliveries/recover`. */
export const recoverRequest = z.strictObject({
  since: time.describe('Those that failed at this time or after it.'),
  endpoint_id: endpointId.optional(),
});

/** What became of each delivery, and how to have it sent anew. */
export function webhookDeliveryRoutes(options: WebhookDeliveryRoutesOptions): Router {
  const { deliveries, store, readBody, publicUrl } = options;
  const router = Router();
  const none = queryParameters();

  router
    .route('/webhooks/deliveries')
    .get(queryParameters(...Object.keys(deliveryQuery.shape)), async (request, response) => {
      const { filter, limit, cursor } = parseQuery(request);
      const page = await deliveries.list(tenantOf(response), filter, limit, cursor);
      response.set('Cache-Control', 'no-store').json(toList(page.deliveries, page.next, publicUrl));
    })
    .all(otherMethods('GET'));
  router
    .route('/webhooks/deliveries/replay')
    .post(none, ...readBody, async (request, response) => {
      const { from, to, endpoint_id, type } = validate(replayRequest, request.body, 'The replay');
      const [fromMs, toMs] = [Date.parse(from), Date.parse(to)];
      if (fromMs >= toMs) throw invalidRequest('The replay', [{ pointer: '/to', detail: 'later than `from`' }]);
      response
        .status(202)
        .json(
          await sendAnew(deliveries, tenantOf(response), filterOf({ fromMs, toMs, endpointId: endpoint_id, type })),
        );
    })
    .all(otherMethods('POST'));
  router
    .route('/webhooks/deliveries/recover')
    .post(none, ...readBody, async (request, response) => {
      const { since, endpoint_id } = validate(recoverRequest, request.body, 'The recovery');
      const filter = filterOf({ status: 'failed', fromMs: Date.parse(since), endpointId: endpoint_id });
      response.status(202).json(await sendAnew(deliveries, tenantOf(response), filter));
    })
    .all(otherMethods('POST'));
  router
    .route('/webhooks/deliveries/:id')
    .get(none, async (request, response) => {
      response
        .set('Cache-Control', 'no-store')
        .json(toView(await readDelivery(deliveries, tenantOf(response), request), publicUrl));
    })
    .all(otherMethods('GET'));
  router
    .route('/webhooks/deliveries/:id/redeliver')
    .post(none, async (request, response) => {
      const { id } = await readDelivery(deliveries, tenantOf(response), request);
      if ((await deliveries.redeliver(tenantOf(response), [id])) === 0) {
        throw new Problem('delivery_pending', 'The delivery has attempts left: it is sent again by itself.');
      }
      response.status(202).json(toView(await readDelivery(deliveries, tenantOf(response), request), publicUrl));
    })
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id/deliveries')
    .get(none, async (request, response) => {
      const jobId = String(request.params.id);
      const [job, page] = await Promise.all([
        store.read(tenantOf(response), jobId),
        deliveries.list(tenantOf(response), { jobId }, MAX_PAGE),
      ]);
      if (job === null && page.deliveries.length === 0) {
        throw new Problem('job_not_found', 'There is no such job, or it is past its expires_at.');
      }
      response.set('Cache-Control', 'no-store').json(toList(page.deliveries, page.next, publicUrl));
    })
    .all(otherMethods('GET'));
  return router;
}

/** First looked for and then ordered: those that are ordered leave the list. */
async function sendAnew(
  deliveries: DeliveryLog,
  tenant: string,
  filter: DeliveryFilter,
): Promise<{ object: 'redelivery'; deliveries: number }> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await deliveries.list(tenant, filter, MAX_PAGE, cursor);
    ids.push(...page.deliveries.map(({ id }) => id));
    cursor = page.next;
  } while (cursor !== undefined);
  let ordered = 0;
  // The oldest first, as they were told.
  for (const chunk of chunks(ids.reverse(), MAX_PAGE)) ordered += await deliveries.redeliver(tenant, chunk);
  return { object: 'redelivery', deliveries: ordered };
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

async function readDelivery(deliveries: DeliveryLog, tenant: string, request: Request): Promise<DeliveryRecord> {
  const { id } = request.params;
  const record = isDeliveryId(id) ? await deliveries.read(tenant, id) : null;
  if (record === null) throw new Problem('delivery_not_found', 'There is no such delivery, or it is forgotten.');
  return record;
}

function parseQuery(request: Request): { filter: DeliveryFilter; limit: number; cursor: string | undefined } {
  const parsed = deliveryQuery.safeParse(request.query);
  if (!parsed.success) {
    const errors = parsed.error.issues.map(({ path, message }) => ({ pointer: `?${path.join('.')}`, detail: message }));
    throw invalidRequest('The query', errors);
  }
  const { status, endpoint, type, job, from, to, limit = String(DEFAULT_PAGE), cursor } = parsed.data;
  if (Number(limit) < 1 || Number(limit) > MAX_PAGE) {
    throw invalidRequest('The query', [{ pointer: '?limit', detail: `1 to ${MAX_PAGE}` }]);
  }
  const filter = filterOf({
    status,
    endpointId: endpoint,
    type,
    jobId: job,
    fromMs: from === undefined ? undefined : Date.parse(from),
    toMs: to === undefined ? undefined : Date.parse(to),
  });
  return { filter, limit: Number(limit), cursor };
}

function filterOf(fields: { [K in keyof DeliveryFilter]: DeliveryFilter[K] | undefined }): DeliveryFilter {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function toList(
  records: readonly DeliveryRecord[],
  next: string | undefined,
  publicUrl: string | undefined,
): z.infer<typeof deliveryList> {
  return { object: 'list', data: records.map((record) => toView(record, publicUrl)), next_cursor: next ?? null };
}

function toView(record: DeliveryRecord, publicUrl = ''): z.infer<typeof deliveryView> {
  const self = `${publicUrl}/webhooks/deliveries/${record.id}`;
  return {
    id: record.id,
    object: 'webhook_delivery',
    event_id: record.event_id,
    type: record.type,
    status: record.status,
    job_id: record.job_id ?? null,
    endpoint_id: record.endpoint_id ?? null,
    // Paths and queries of webhook URLs hold secrets often enough.
    receiver: new URL(record.url).origin,
    created_at: new Date(record.created_ms).toISOString(),
    redeliveries: record.round,
    attempts: record.attempts,
    latest_attempts: record.log.map(({ at_ms, status, latency_ms, outcome, error_class, answer }) => ({
      at: new Date(at_ms).toISOString(),
      outcome,
      status: status ?? null,
      error_class: error_class ?? null,
      latency_ms,
      answer: answer ?? null,
    })),
    urls: { self, redeliver: `${self}/redeliver` },
  };
}

import {
  Problem,
  TENANT_DEFAULTS,
  type Tenant,
  type TenantRefusal,
  type Tenants,
  tenantId,
  tenantSettings,
} from '@onqueue/shared';
import { type Request, type RequestHandler, Router } from 'express';
import { z } from 'zod';
import { actorOf } from '../auth/caller.ts';
import type { TenantDirectory } from '../auth/tenant-directory.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { validate } from '../http/validation.ts';
import { isoTime } from '../iso-time.ts';

export interface TenantRoutesOptions {
  tenants: Tenants;
  directory: Pick<TenantDirectory, 'forget'>;
  readBody: readonly RequestHandler[];
  publicUrl: string | undefined;
}

/** The body of `PATCH /admin/tenants/{id}`: what is to change. `quotas` and `storage` are replaced as a whole. */
export const tenantChangeRequest = tenantSettings.partial();
/** The body of `POST /admin/tenants`. */
export const tenantRequest = tenantChangeRequest.extend({
  id: tenantId.describe('Stands in keys of Redis, and never changes.'),
});

/** What operators say of tenants. A change counts in other processes within `ONQUEUE_KEY_CACHE_MS`, a weight at once. */
export function tenantRoutes({ tenants, directory, readBody, publicUrl }: TenantRoutesOptions): Router {
  const router = Router();
  const none = queryParameters();
  const view = (tenant: Tenant) => tenantView(tenant, publicUrl);
  router
    .route('/admin/tenants')
    .get(none, async (_request, response) => {
      response.json({ object: 'list', data: (await tenants.list()).map(view) });
    })
    .post(none, ...readBody, async (request, response) => {
      const { id, ...settings } = validate(tenantRequest, request.body, 'The tenant');
      const wanted = { name: id, ...TENANT_DEFAULTS, ...withoutUndefined(settings) };
      const body = view(done(await tenants.create(id, wanted, actorOf(response))));
      response.status(201).location(body.urls.self).json(body);
    })
    .all(otherMethods('GET', 'POST'));
  router
    .route('/admin/tenants/:id')
    .get(none, async (request, response) => {
      response.json(view(done((await tenants.read(idOf(request))) ?? 'missing')));
    })
    .patch(none, ...readBody, async (request, response) => {
      const change = withoutUndefined(validate(tenantChangeRequest, request.body, 'The change'));
      const changed = done(await tenants.update(idOf(request), change, actorOf(response)));
      directory.forget(changed.id);
      response.json(view(changed));
    })
    .delete(none, async (request, response) => {
      done(await tenants.delete(idOf(request), actorOf(response)));
      directory.forget(idOf(request));
      response.status(204).end();
    })
    .all(otherMethods('GET', 'PATCH', 'DELETE'));
  return router;
}

function idOf(request: Request): string {
  return tenantId.safeParse(request.params.id).data ?? '-';
}

function done<T>(outcome: T | TenantRefusal): T {
  switch (outcome) {
    case 'missing':
      throw tenantNotFound();
    case 'exists':
      throw new Problem('tenant_exists', 'There is a tenant of this id already.');
    case 'has_keys':
      throw new Problem(
        'tenant_in_use',
        'The tenant is the default one, or has keys that can be used: revoke them first.',
      );
    case 'full':
      throw new Problem('tenants_full', 'There are as many tenants as there may be (ONQUEUE_MAX_TENANTS).');
    default:
      return outcome as T;
  }
}

export function tenantNotFound(): Problem {
  return new Problem('tenant_not_found', 'There is no such tenant.');
}

function tenantView({ schema_version: _, created_ms, updated_ms, ...tenant }: Tenant, publicUrl = '') {
  return {
    object: 'tenant' as const,
    ...tenant,
    created_at: isoTime(created_ms),
    updated_at: isoTime(updated_ms),
    urls: { self: `${publicUrl}/admin/tenants/${tenant.id}` },
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}

export const tenantReply = z
  .object({
    object: z.literal('tenant'),
    id: tenantId,
    ...tenantSettings.shape,
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    urls: z.object({ self: z.string() }),
  })
  .meta({ id: 'Tenant', description: 'Who owns jobs, and what was agreed with them.' });

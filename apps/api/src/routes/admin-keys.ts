import {
  API_KEY_SCOPES,
  type ApiKey,
  type ApiKeys,
  apiKeyEnv,
  apiKeyLimits,
  apiKeyScope,
  DEFAULT_TENANT,
  isApiKeyId,
  type KeyRefusal,
  type ListedKey,
  Problem,
  tenantId,
} from '@onqueue/shared';
import { type Request, type RequestHandler, Router } from 'express';
import { z } from 'zod';
import type { Authenticator } from '../auth/authenticator.ts';
import { actorOf } from '../auth/caller.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { invalidRequest, validate } from '../http/validation.ts';
import { isoTime, isoTimeOrNull } from '../iso-time.ts';
import { tenantNotFound } from './admin-tenants.ts';

export interface KeyRoutesOptions {
  keys: ApiKeys;
  /** Undefined where no keys are asked for. */
  authenticator: Pick<Authenticator, 'forget'> | undefined;
  overlapS: number;
  readBody: readonly RequestHandler[];
  publicUrl: string | undefined;
}

const name = z.string().max(200).describe('For people.');
const scopes = z
  .array(apiKeyScope)
  .min(1)
  .max(API_KEY_SCOPES.length)
  .refine((all) => new Set(all).size === all.length, 'each scope once')
  .describe(
    "`read` and `write` what is the tenant's; `admin` concerns all tenants; `metrics` is for a scraper. None includes another.",
  );
const expiresAt = z.iso.datetime({ offset: true }).describe('When it ends to work.');

/** The body of `POST /admin/keys`. */
export const keyRequest = z.strictObject({
  tenant: tenantId.default(DEFAULT_TENANT),
  name: name.default(''),
  env: apiKeyEnv.default('live').describe('A word in the text of the key, for people.'),
  scopes: scopes.default(['read', 'write']),
  limits: apiKeyLimits.default({}),
  expires_at: expiresAt.optional(),
});
/** The body of `PATCH /admin/keys/{id}`: what is to change. */
export const keyChangeRequest = z.strictObject({
  name: name.optional(),
  scopes: scopes.optional(),
  limits: apiKeyLimits.optional(),
  expires_at: expiresAt.nullable().optional(),
});
/** The body of `POST /admin/keys/{id}/rotate`. */
export const keyRotateRequest = z.strictObject({
  overlap_s: z
    .number()
    .int()
    .min(0)
    .max(2_592_000)
    .optional()
    .describe('Seconds for which the secrets before go on beside the new one; 0 ends them at once.'),
});

/** API keys. A change counts in other processes within `ONQUEUE_KEY_CACHE_MS`. */
export function keyRoutes({ keys, authenticator, overlapS, readBody, publicUrl }: KeyRoutesOptions): Router {
  const router = Router();
  const none = queryParameters();
  const view = (listed: ListedKey) => keyView(listed, publicUrl);
  router
    .route('/admin/keys')
    .get(queryParameters('tenant'), async (request, response) => {
      const { tenant } = request.query;
      if (tenant !== undefined && typeof tenant !== 'string') {
        throw invalidRequest('The query', [{ pointer: '?tenant', detail: 'the id of a tenant' }]);
      }
      response.set('Cache-Control', 'no-store').json({ object: 'list', data: (await keys.list(tenant)).map(view) });
    })
    .post(none, ...readBody, async (request, response) => {
      const { expires_at, ...wanted } = validate(keyRequest, request.body, 'The key');
      const expiresMs = expires_at === undefined ? undefined : Date.parse(expires_at);
      const { key, text } = done(await keys.create({ ...wanted, expiresMs }, actorOf(response)));
      const body = view({ key, lastUsedMs: undefined });
      response.set('Cache-Control', 'no-store').status(201).location(body.urls.self);
      response.json({ ...body, key: text });
    })
    .all(otherMethods('GET', 'POST'));
  router
    .route('/admin/keys/:id')
    .get(none, async (request, response) => {
      const found = await keys.read(idOf(request));
      if (found === null) throw keyNotFound();
      response.set('Cache-Control', 'no-store').json(view(found));
    })
    .patch(none, ...readBody, async (request, response) => {
      const { expires_at, ...rest } = validate(keyChangeRequest, request.body, 'The change');
      const given = Object.entries(rest).filter(([, value]) => value !== undefined);
      const expires =
        expires_at === undefined ? {} : { expiresMs: expires_at === null ? null : Date.parse(expires_at) };
      const change = { ...Object.fromEntries(given), ...expires };
      const key = done(await keys.update(idOf(request), change, actorOf(response)));
      authenticator?.forget(key.id);
      response.set('Cache-Control', 'no-store').json(view({ key, lastUsedMs: await lastUse(keys, key) }));
    })
    .delete(none, async (request, response) => {
      const key = done(await keys.revoke(idOf(request), actorOf(response)));
      authenticator?.forget(key.id);
      response.set('Cache-Control', 'no-store').json(view({ key, lastUsedMs: await lastUse(keys, key) }));
    })
    .all(otherMethods('GET', 'PATCH', 'DELETE'));
  router
    .route('/admin/keys/:id/rotate')
    .post(none, ...readBody, async (request, response) => {
      const { overlap_s = overlapS } = validate(keyRotateRequest, request.body, 'The rotation');
      const { key, text } = done(await keys.rotate(idOf(request), overlap_s * 1000, actorOf(response)));
      authenticator?.forget(key.id);
      response
        .set('Cache-Control', 'no-store')
        .json({ ...view({ key, lastUsedMs: await lastUse(keys, key) }), key: text });
    })
    .all(otherMethods('POST'));
  return router;
}

async function lastUse(keys: ApiKeys, { id }: ApiKey): Promise<number | undefined> {
  return (await keys.read(id))?.lastUsedMs;
}

function idOf(request: Request): string {
  const { id } = request.params;
  if (!isApiKeyId(id)) throw keyNotFound();
  return id;
}

function done<T>(outcome: T | KeyRefusal): T {
  switch (outcome) {
    case 'missing':
      throw keyNotFound();
    case 'tenant_missing':
      throw tenantNotFound();
    case 'revoked':
      throw new Problem('key_revoked', 'The API key was revoked.');
    case 'full':
      throw new Problem('keys_full', 'There are as many API keys as there may be (ONQUEUE_MAX_API_KEYS).');
    default:
      return outcome as T;
  }
}

function keyNotFound(): Problem {
  return new Problem('key_not_found', 'There is no such API key.');
}

function keyView({ key, lastUsedMs }: ListedKey, publicUrl = '') {
  const self = `${publicUrl}/admin/keys/${key.id}`;
  return {
    object: 'api_key' as const,
    id: key.id,
    tenant: key.tenant,
    name: key.name,
    env: key.env,
    scopes: key.scopes,
    limits: key.limits,
    secrets: key.secrets.map(({ created_ms, expires_ms }) => ({
      created_at: isoTime(created_ms),
      expires_at: isoTimeOrNull(expires_ms),
    })),
    expires_at: isoTimeOrNull(key.expires_ms),
    revoked_at: isoTimeOrNull(key.revoked_ms),
    last_used_at: isoTimeOrNull(lastUsedMs),
    created_at: isoTime(key.created_ms),
    updated_at: isoTime(key.updated_ms),
    urls: { self, rotate: `${self}/rotate` },
  };
}

const time = z.iso.datetime();

export const keyReply = z
  .object({
    object: z.literal('api_key'),
    id: z.string(),
    tenant: tenantId,
    name: z.string(),
    env: apiKeyEnv,
    scopes: z.array(apiKeyScope),
    limits: apiKeyLimits,
    secrets: z
      .array(z.object({ created_at: time, expires_at: time.nullable() }))
      .describe('Those that were not dropped, the newest first; the secrets themselves are kept nowhere.'),
    expires_at: time.nullable(),
    revoked_at: time.nullable(),
    last_used_at: time.nullable().describe('Written at most once a minute.'),
    created_at: time,
    updated_at: time,
    urls: z.object({ self: z.string(), rotate: z.string() }),
  })
  .meta({ id: 'ApiKey', description: 'An API key without its secret.' });

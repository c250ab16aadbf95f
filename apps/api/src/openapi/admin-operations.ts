import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { auditQuery, auditReply } from '../routes/admin-audit.ts';
import { keyChangeRequest, keyReply, keyRequest, keyRotateRequest } from '../routes/admin-keys.ts';
import { tenantChangeRequest, tenantReply, tenantRequest } from '../routes/admin-tenants.ts';
import { location } from './headers.ts';
import { json, problems, STORAGE } from './responses.ts';

const keyIssued = keyReply
  .extend({ key: z.string().describe('What a client sends: `Authorization: Bearer …`. It is shown only here.') })
  .meta({ id: 'IssuedApiKey', description: 'An API key with its text.' });

const tenantExample: z.infer<typeof tenantReply> = {
  object: 'tenant',
  id: 'acme',
  name: 'Acme Ltd.',
  weight: 2,
  quotas: { rows_per_day: 1_000_000 },
  storage: {},
  retention_s: 86_400,
  created_at: '2026-11-22T03:20:26.000Z',
  updated_at: '2026-11-22T03:20:26.000Z',
  urls: { self: '/admin/tenants/acme' },
};
const KEY_ID = '3f9c1a5be07d24c6810a';
const keyExample: z.infer<typeof keyReply> = {
  object: 'api_key',
  id: KEY_ID,
  tenant: 'acme',
  name: 'checkout service',
  env: 'live',
  scopes: ['read', 'write'],
  limits: { rows_per_s: 100 },
  secrets: [{ created_at: '2026-11-22T03:20:26.000Z', expires_at: null }],
  expires_at: null,
  revoked_at: null,
  last_used_at: null,
  created_at: '2026-11-22T03:20:26.000Z',
  updated_at: '2026-11-22T03:20:26.000Z',
  urls: { self: `/admin/keys/${KEY_ID}`, rotate: `/admin/keys/${KEY_ID}/rotate` },
};
const issuedExample = { ...keyExample, key: `oq_live_${KEY_ID}_${'0'.repeat(43)}` };
const auditExample: z.infer<typeof auditReply> = {
  object: 'list',
  chain: 'fleet',
  chains: ['fleet', '0'],
  before: { seq: 0, hash: '0'.repeat(64) },
  head: { seq: 1, hash: '9c1f'.repeat(16) },
  unchained_lines: 0,
  data: [
    {
      id: '1763781626000-0',
      text: '{"seq":1,"action":"key.created"}',
      hash: '9c1f'.repeat(16),
      entry: {
        seq: 1,
        at_ms: 1_763_781_626_000,
        action: 'key.created',
        request_id: 'req_1',
        key_id: KEY_ID,
        previous: '0'.repeat(64),
      },
    },
  ],
  has_more: false,
  next: null,
};

const id = { path: z.object({ id: z.string() }) };
const BODY = [
  'invalid_request',
  'malformed_json',
  'json_too_complex',
  'payload_too_large',
  'unsupported_media_type',
] as const;

/** What operators do to tenants and keys, and the log of it. */
export const adminPaths: ZodOpenApiPathsObject = {
  '/admin/tenants': {
    get: operation('listTenants', 'List the tenants', {
      responses: {
        200: json(list(tenantReply, 'TenantList'), 'All of them.', { object: 'list', data: [tenantExample] }),
        ...problems(['invalid_request', ...STORAGE]),
      },
    }),
    post: operation('createTenant', 'Make a tenant', {
      requestBody: body(tenantRequest, { id: 'acme', name: 'Acme Ltd.', weight: 2, retention_s: 86_400 }),
      responses: {
        201: json(tenantReply, 'It is made.', tenantExample, location),
        ...problems([...BODY], ['tenant_exists', 'tenants_full', 'storage_full', ...STORAGE]),
      },
    }),
  },
  '/admin/tenants/{id}': {
    get: operation('readTenant', 'Show a tenant', {
      requestParams: id,
      responses: {
        200: json(tenantReply, 'The tenant.', tenantExample),
        ...problems(['invalid_request', 'tenant_not_found', ...STORAGE]),
      },
    }),
    patch: operation('updateTenant', 'Change a tenant', {
      description: '`quotas` and `storage` are replaced as a whole. A weight counts for the next job that is fed.',
      requestParams: id,
      requestBody: body(tenantChangeRequest, { weight: 3 }),
      responses: {
        200: json(tenantReply, 'The tenant as it is from now on.', { ...tenantExample, weight: 3 }),
        ...problems([...BODY], ['tenant_not_found', 'tenants_full', 'storage_full', ...STORAGE]),
      },
    }),
    delete: operation('deleteTenant', 'Delete a tenant', {
      description: 'Only one without keys that can be used. Its jobs and files go when their time is over.',
      requestParams: id,
      responses: {
        204: { description: 'It is deleted.' },
        ...problems(['invalid_request', 'tenant_not_found', 'tenant_in_use', ...STORAGE]),
      },
    }),
  },
  '/admin/keys': {
    get: operation('listKeys', 'List API keys', {
      requestParams: { query: z.object({ tenant: z.string().optional().describe('Of this tenant only.') }) },
      responses: {
        200: json(list(keyReply, 'ApiKeyList'), 'Also those that are revoked.', { object: 'list', data: [keyExample] }),
        ...problems(['invalid_request', ...STORAGE]),
      },
    }),
    post: operation('createKey', 'Make an API key', {
      requestBody: body(keyRequest, { tenant: 'acme', name: 'checkout service', scopes: ['read', 'write'] }),
      responses: {
        201: json(keyIssued, 'The key. Its text is shown this once.', issuedExample, location),
        ...problems([...BODY], ['tenant_not_found', 'keys_full', 'storage_full', ...STORAGE]),
      },
    }),
  },
  '/admin/keys/{id}': {
    get: operation('readKey', 'Show an API key', {
      requestParams: id,
      responses: {
        200: json(keyReply, 'The key, without its secret.', keyExample),
        ...problems(['invalid_request', 'key_not_found', ...STORAGE]),
      },
    }),
    patch: operation('updateKey', 'Change an API key', {
      requestParams: id,
      requestBody: body(keyChangeRequest, { scopes: ['read'] }),
      responses: {
        200: json(keyReply, 'The key as it is from now on.', { ...keyExample, scopes: ['read'] }),
        ...problems([...BODY], ['key_not_found', 'key_revoked', 'storage_full', ...STORAGE]),
      },
    }),
    delete: operation('revokeKey', 'Revoke an API key', {
      description: 'Final. Other API processes may take it for `ONQUEUE_KEY_CACHE_MS` more.',
      requestParams: id,
      responses: {
        200: json(keyReply, 'The key, revoked.', { ...keyExample, revoked_at: '2026-11-22T04:00:00.000Z' }),
        ...problems(['invalid_request', 'key_not_found', 'key_revoked', ...STORAGE]),
      },
    }),
  },
  '/admin/keys/{id}/rotate': {
    post: operation('rotateKey', 'Give an API key a new secret', {
      requestParams: id,
      requestBody: body(keyRotateRequest, { overlap_s: 3600 }),
      responses: {
        200: json(keyIssued, 'The key. Its new text is shown this once.', issuedExample),
        ...problems([...BODY], ['key_not_found', 'key_revoked', 'storage_full', ...STORAGE]),
      },
    }),
  },
  '/admin/audit': {
    get: operation('readAuditLog', 'Read the audit log', {
      description: 'One chain a call, the oldest line first. `onqueue audit verify` checks all of them.',
      requestParams: { query: auditQuery },
      responses: {
        200: json(auditReply, 'A page.', auditExample),
        ...problems(['invalid_request', ...STORAGE]),
      },
    }),
  },
};

function operation(
  operationId: string,
  summary: string,
  rest: Omit<ZodOpenApiOperationObject, 'operationId' | 'summary' | 'tags'>,
): ZodOpenApiOperationObject {
  return { operationId, tags: ['Operations'], summary, ...rest };
}

function body(schema: z.ZodType, example: unknown) {
  return { required: true, content: { 'application/json': { schema, example } } };
}

function list<T extends z.ZodType>(schema: T, name: string) {
  return z.object({ object: z.literal('list'), data: z.array(schema) }).meta({ id: name });
}

import type { ApiKeyScope } from '@onqueue/shared';

/** What anybody may ask: whether the process is alive, and how to talk to it. */
const OPEN = /^\/(livez|readyz|openapi\.json|docs(\/[^/]*)?)\/?$/i;
const METRICS = /^\/metrics\/?$/i;
/** What concerns all tenants. */
const ADMIN = /^\/(admin(\/|$)|models\/[^/]+\/(load|unload)\/?$)/i;
const READING = new Set(['GET', 'HEAD']);

/**
 * The scope that a key needs for a request; undefined: it needs no key. Whatever stands in no list needs a key, so a route
 * that is forgotten here is not open. Paths are told apart as Express does it, which cares for neither case nor a slash at the end.
 */
export function requiredScope(method: string, path: string): ApiKeyScope | undefined {
  // Which methods a path has is no secret, and a browser asks that before it sends a key.
  if (OPEN.test(path) || method === 'OPTIONS') return undefined;
  if (METRICS.test(path)) return 'metrics';
  if (ADMIN.test(path)) return 'admin';
  return READING.has(method) ? 'read' : 'write';
}

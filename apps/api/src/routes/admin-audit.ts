import { type AuditLine, type AuditLog, auditEntry } from '@onqueue/shared';
import { type Request, Router } from 'express';
import { z } from 'zod';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { invalidRequest } from '../http/validation.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** The parameters of `GET /admin/audit`. */
export const auditQuery = z.object({
  chain: z.string().optional().describe('One of `chains`; `fleet` (keys, tenants and models) when left out.'),
  limit: z.string().optional().describe(`Lines a page, 1 to ${MAX_LIMIT}; ${DEFAULT_LIMIT} unless given.`),
  starting_after: z.string().optional().describe('`next` of the page before.'),
});

/** `GET /admin/audit`: who did what, the oldest line first, with all that is needed to check that nothing was changed. */
export function auditRoutes({ audit }: { audit: AuditLog }): Router {
  const router = Router();
  router
    .route('/admin/audit')
    .get(queryParameters(...Object.keys(auditQuery.shape)), async (request, response) => {
      const { chain, limit, after } = parseQuery(request, audit.chains);
      const page = await audit.page(chain, limit, after);
      response.set('Cache-Control', 'no-store').json({
        object: 'list',
        chain,
        chains: audit.chains,
        before: page.before,
        head: page.head,
        unchained_lines: page.unchained,
        data: page.lines.map((line) => lineView(line)),
        has_more: page.next !== undefined,
        next: page.next ?? null,
      });
    })
    .all(otherMethods('GET'));
  return router;
}

function parseQuery({ query }: Request, chains: readonly string[]) {
  const { chain = chains[0] ?? '', limit = String(DEFAULT_LIMIT), starting_after: after } = query;
  if (typeof chain !== 'string' || !chains.includes(chain)) {
    throw invalidRequest('The query', [{ pointer: '?chain', detail: `one of ${chains.slice(0, 20).join(', ')}` }]);
  }
  const count = typeof limit === 'string' && /^\d{1,4}$/.test(limit) ? Number(limit) : 0;
  if (count < 1 || count > MAX_LIMIT) {
    throw invalidRequest('The query', [{ pointer: '?limit', detail: `1 to ${MAX_LIMIT}` }]);
  }
  if (after !== undefined && (typeof after !== 'string' || !/^\d{1,15}-\d{1,15}$/.test(after))) {
    throw invalidRequest('The query', [{ pointer: '?starting_after', detail: '`next` of the page before' }]);
  }
  return { chain, limit: count, after };
}

/** What was changed may be no line any more: `text` and `hash` are told as they are, for whoever checks them. */
function lineView({ id, text, hash }: AuditLine): z.infer<typeof auditLineReply> {
  return { id, text, hash, entry: parsed(text) };
}

function parsed(text: string): z.infer<typeof auditEntry> | null {
  try {
    return auditEntry.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

const mark = z.object({ seq: z.number().int(), hash: z.string() });

const auditLineReply = z.object({
  id: z.string(),
  text: z.string().describe('What `hash` is the SHA-256 of, in hexadecimal.'),
  hash: z.string(),
  entry: auditEntry
    .nullable()
    .describe('The text as JSON; `previous` is the hash of the line before. Null: it is none.'),
});

export const auditReply = z
  .object({
    object: z.literal('list'),
    chain: z.string(),
    chains: z.array(z.string()).describe('All there are: `fleet`, and one for each partition.'),
    before: mark.describe('The newest line that is kept no more; 0 when all are.'),
    head: mark.describe('The newest line.'),
    unchained_lines: z.number().int().describe('Of this page, written by a version that knew no chain.'),
    data: z.array(auditLineReply.meta({ id: 'AuditLine' })),
    has_more: z.boolean(),
    next: z.string().nullable(),
  })
  .meta({ id: 'AuditList', description: 'Lines of the audit log, the oldest first.' });

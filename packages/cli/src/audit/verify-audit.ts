import { type AuditLine, type AuditMark, auditFaults } from '@onqueue/shared';
import { z } from 'zod';
import type { ApiClient } from '../api/api-client.ts';

const mark = z.looseObject({ seq: z.number(), hash: z.string() });
const auditPage = z.looseObject({
  chains: z.array(z.string()),
  before: mark,
  head: mark,
  unchained_lines: z.number(),
  data: z.array(z.looseObject({ id: z.string(), text: z.string(), hash: z.string() })),
  next: z.string().nullable(),
});

export interface ChainReport {
  chain: string;
  lines: number;
  head: AuditMark;
  faults: string[];
}

export async function auditChains(api: ApiClient): Promise<string[]> {
  return (await api.ask(auditPage, 'GET', '/admin/audit', { query: { limit: 1 } })).chains;
}

/** The lines of a chain, page by page, with what they hang between. */
export async function readChain(api: ApiClient, chain: string) {
  const lines: AuditLine[] = [];
  let before: AuditMark | undefined;
  let after: string | undefined;
  for (;;) {
    const query = { chain, limit: 1000, starting_after: after };
    const page = await api.ask(auditPage, 'GET', '/admin/audit', { query });
    // Of the first page: what goes while the others are read was read before.
    before ??= page.before;
    lines.push(...page.data.map(({ id, text, hash }) => ({ id, text, hash })));
    if (page.next === null) return { lines, before, head: page.head };
    after = page.next;
  }
}

/** Computes every hash here: the API is believed no more than anybody. `known` are hashes of lines that were seen before. */
export async function verifyChain(api: ApiClient, chain: string): Promise<ChainReport & { hashes: Set<string> }> {
  const { lines, before, head } = await readChain(api, chain);
  const hashes = new Set([before.hash, ...lines.map(({ hash }) => hash)]);
  return { chain, lines: lines.length, head, faults: auditFaults(lines, before, head), hashes };
}

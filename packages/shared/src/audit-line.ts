import { createHash } from 'node:crypto';
import { z } from 'zod';

/** Who did something: the request, and the key that came with it. */
export interface AuditActor {
  requestId: string;
  /** Undefined where the API asks for no keys. */
  keyId?: string | undefined;
}

/** What the API does for nobody: the first key, for one. */
export const PLATFORM_ACTOR: AuditActor = { requestId: 'platform' };

/** The text of a line: what was done, by whom, and the hash of the line before. Actions add fields of their own. */
export const auditEntry = z.looseObject({
  seq: z.number().int(),
  at_ms: z.number().int(),
  action: z.string(),
  request_id: z.string(),
  key: z.string().optional(),
  previous: z.string(),
});
export type AuditEntry = z.infer<typeof auditEntry>;

/** A line as it is stored. `hash` is the SHA-256 of `text`, so that nothing in it can change and go unseen. */
export interface AuditLine {
  id: string;
  text: string;
  hash: string;
}

/** Where a chain stands: the newest line, or the newest of those that are gone. */
export interface AuditMark {
  seq: number;
  hash: string;
}

/** What the first line of a chain names as the one before. */
export const AUDIT_START: AuditMark = { seq: 0, hash: '0'.repeat(64) };

/**
 * The faults of a chain, line by line; none when it is whole. `before` is the mark of the newest line that is kept no more, `head` that
 * of the newest line.
 */
export function auditFaults(lines: readonly AuditLine[], before: AuditMark, head: AuditMark): string[] {
  const faults: string[] = [];
  let last = before;
  for (const line of lines) {
    const parsed = parseEntry(line.text);
    if (!parsed || sha256(line.text) !== line.hash) {
      faults.push(`line ${line.id}, which should be ${last.seq + 1}, was changed`);
      last = { seq: parsed?.seq ?? last.seq + 1, hash: line.hash };
      continue;
    }
    if (parsed.seq !== last.seq + 1) {
      faults.push(
        parsed.seq > last.seq + 1
          ? `lines ${last.seq + 1} to ${parsed.seq - 1} were removed, or stand elsewhere`
          : `line ${parsed.seq} stands behind line ${last.seq}`,
      );
    } else if (parsed.previous !== last.hash) {
      faults.push(`line ${parsed.seq} does not follow the line before it`);
    }
    last = { seq: parsed.seq, hash: line.hash };
  }
  if (last.seq !== head.seq) faults.push(`the newest line should be ${head.seq}, and is ${last.seq}`);
  else if (last.hash !== head.hash) faults.push(`line ${head.seq} is not the one that was written last`);
  return faults;
}

function parseEntry(text: string): AuditEntry | undefined {
  try {
    return auditEntry.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

import { type ApiKeys, apiKeyIdOf, apiKeyStanding, type Clock, type KnownKey, Problem } from '@onqueue/shared';
import type { Caller } from './caller.ts';
import { RecentReads } from './recent-reads.ts';

export interface AuthenticatorOptions {
  keys: Pick<ApiKeys, 'find' | 'noteUse'>;
  /** For how long a key that was changed elsewhere goes on as it was. */
  ttlMs: number;
  clock: Pick<Clock, 'now'>;
}

/** A key as it was read, when this process read it, and when it was used last as far as is known. */
interface SeenKey extends KnownKey {
  readAtMs: number;
}

const MAX_ENTRIES = 10_000;
/** When a key was used last is written down no more often than this. */
const USE_NOTED_MS = 60_000;
const BEARER = /^bearer +(\S+)$/i;

/**
 * Says who comes with a key. A key that was seen of late costs no read; when the store is away nobody else gets in.
 * Expiry goes by the store's clock: how much of it has passed since the key was read is measured here.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #recent: RecentReads<SeenKey>;

  constructor(options: AuthenticatorOptions) {
    const { keys, ttlMs, clock } = options;
    this.#options = options;
    const read = async (id: string): Promise<SeenKey | null> => {
      const known = await keys.find(id);
      return known && { ...known, readAtMs: clock.now() };
    };
    this.#recent = new RecentReads({ read, ttlMs, maxEntries: MAX_ENTRIES, clock });
  }

  /** @throws Problem unauthorized, storage_unavailable */
  async identify(authorization: string | undefined): Promise<Caller> {
    if (authorization === undefined) {
      throw new Problem('unauthorized', 'Send an API key: `Authorization: Bearer oq_…`.', { challenge: 'Bearer' });
    }
    const [, text = ''] = BEARER.exec(authorization) ?? [];
    const id = apiKeyIdOf(text);
    if (id === undefined) throw invalidKey('This is no API key: `Authorization: Bearer oq_…`.');
    const seen = await this.#recent.get(id);
    if (seen === null) throw invalidKey(UNKNOWN);
    const nowMs = seen.nowMs + this.#options.clock.now() - seen.readAtMs;
    switch (apiKeyStanding(seen.key, text, nowMs)) {
      case 'wrong':
        throw invalidKey(UNKNOWN);
      case 'revoked':
        throw invalidKey('The API key was revoked.');
      case 'expired':
        throw invalidKey('The API key has expired.');
      case 'valid':
        this.#noteUse(seen, nowMs);
        return { tenant: seen.key.tenant, keyId: id, scopes: seen.key.scopes, limits: seen.key.limits };
    }
  }

  /** It was changed here. */
  forget(id: string): void {
    this.#recent.forget(id);
  }

  #noteUse(seen: SeenKey, nowMs: number): void {
    if (nowMs - (seen.lastUsedMs ?? 0) < USE_NOTED_MS) return;
    seen.lastUsedMs = nowMs;
    // For people who tidy up: no request should fail for it.
    this.#options.keys.noteUse(seen.key.id).catch(() => {});
  }
}

/** Alike for an unknown id and a wrong secret. */
const UNKNOWN = 'There is no such API key.';

function invalidKey(detail: string): Problem {
  return new Problem('unauthorized', detail, { challenge: 'Bearer error="invalid_token"' });
}

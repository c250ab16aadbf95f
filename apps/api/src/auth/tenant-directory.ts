import { type Clock, Problem, type Tenant, type Tenants } from '@onqueue/shared';
import { RecentReads } from './recent-reads.ts';

export interface TenantDirectoryOptions {
  tenants: Pick<Tenants, 'read'>;
  ttlMs: number;
  clock: Pick<Clock, 'now'>;
}

/** Tenants that are remembered; of more than these the oldest are read again. */
const MAX_ENTRIES = 10_000;

/** What operators say of tenants, as it was at most `ttlMs` ago: a job that is posted costs no read of its own. */
export class TenantDirectory {
  readonly #recent: RecentReads<Tenant>;

  constructor({ tenants, ttlMs, clock }: TenantDirectoryOptions) {
    this.#recent = new RecentReads({ read: (id) => tenants.read(id), ttlMs, maxEntries: MAX_ENTRIES, clock });
  }

  /** @throws Problem unauthorized for one that was deleted while its key was in use */
  async read(id: string): Promise<Tenant> {
    const tenant = await this.#recent.get(id);
    if (tenant === null) throw new Problem('unauthorized', 'The tenant of the key is gone.', { challenge: 'Bearer' });
    return tenant;
  }

  /** It was changed here. */
  forget(id: string): void {
    this.#recent.forget(id);
  }
}

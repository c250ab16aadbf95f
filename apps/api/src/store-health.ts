import { type RedisServerReport, UnsuitableRedisError } from '@onqueue/shared/redis';

export interface StoreHealthReport {
  status: 'ok' | 'unavailable' | 'unsuitable';
  /** `durable`, `default`, `volatile` or `unknown`: what an accepted job survives (docs/guides/durability.md). */
  durability?: RedisServerReport['durability'];
  version?: string;
  detail?: string;
}

/** Whether Redis can be trusted with jobs now, and takes them. */
export class StoreHealth {
  readonly #check: () => Promise<RedisServerReport>;

  constructor({ check }: { check: () => Promise<RedisServerReport> }) {
    this.#check = check;
  }

  async check(): Promise<StoreHealthReport> {
    try {
      const { durability, version } = await this.#check();
      return { status: 'ok', durability, version };
    } catch (error) {
      const status = error instanceof UnsuitableRedisError ? 'unsuitable' : 'unavailable';
      return { status, detail: (error as Error).message };
    }
  }
}

import { type ChildService, lastWords } from './child-service.ts';
import { describeExit } from './managed-process.ts';
import type { Platform } from './platform.ts';

/** Resolves when the first process of a running platform ends, with a message that says which one and what it said. */
export function unexpectedEnd({ apis, workers, redis }: Platform): Promise<string> {
  const ends = [...apis, ...workers].map((service) =>
    service.exited.then((exit) => message(service, describeExit(exit))),
  );
  const redisEnd = redis?.exited.then(
    (exit) => `Redis ended unexpectedly (${describeExit(exit)}); its log is in ${redis.dataDir}. Stopping everything.`,
  );
  return Promise.race(redisEnd === undefined ? ends : [...ends, redisEnd]);
}

function message(service: ChildService, how: string): string {
  return `The ${service.name} ended unexpectedly (${how}). Stopping everything. Its last lines:\n  ${lastWords(service)}`;
}

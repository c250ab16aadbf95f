import { masterNodes, type RedisConnection } from './connection.ts';

export interface ServerMemory {
  usedBytes: number;
  /** 0: the server has no limit. */
  maxBytes: number;
  /** `noeviction`, or what lets the server forget jobs. */
  maxmemoryPolicy: string;
}

export const NO_EVICTION = 'noeviction';

/** Of a cluster: the node that is fullest, and the policy of the first one that evicts. */
export async function readServerMemory(redis: RedisConnection): Promise<ServerMemory> {
  const nodes = await Promise.all(masterNodes(redis).map(async (node) => parseMemory(await node.info('memory'))));
  const evicting = nodes.find(({ maxmemoryPolicy }) => maxmemoryPolicy !== NO_EVICTION);
  const none = { usedBytes: 0, maxBytes: 0, maxmemoryPolicy: NO_EVICTION };
  const fullest = nodes.reduce((worst, node) => (shareOf(node) > shareOf(worst) ? node : worst), none);
  return { ...fullest, maxmemoryPolicy: evicting?.maxmemoryPolicy ?? NO_EVICTION };
}

function shareOf({ usedBytes, maxBytes }: ServerMemory): number {
  return maxBytes === 0 ? -1 / (usedBytes + 1) : usedBytes / maxBytes;
}

function parseMemory(info: string): ServerMemory {
  const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
  return {
    usedBytes: Number(field('used_memory') ?? 0),
    maxBytes: Number(field('maxmemory') ?? 0),
    maxmemoryPolicy: field('maxmemory_policy') ?? 'unknown',
  };
}

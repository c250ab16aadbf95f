import { masterNodes, type RedisConnection } from './connection.ts';

export interface ServerMemory {
  usedBytes: number;
  /** 0: the server has no limit. */
  maxBytes: number;
}

/** Of a cluster: the node that is fullest. */
export async function readServerMemory(redis: RedisConnection): Promise<ServerMemory> {
  const nodes = await Promise.all(masterNodes(redis).map(async (node) => parseMemory(await node.info('memory'))));
  return nodes.reduce((worst, node) => (shareOf(node) > shareOf(worst) ? node : worst), { usedBytes: 0, maxBytes: 0 });
}

function shareOf({ usedBytes, maxBytes }: ServerMemory): number {
  return maxBytes === 0 ? -1 / (usedBytes + 1) : usedBytes / maxBytes;
}

function parseMemory(info: string): ServerMemory {
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  return { usedBytes: field('used_memory'), maxBytes: field('maxmemory') };
}

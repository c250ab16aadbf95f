import type { RedisServer } from '@onqueue/launcher';
import { Redis } from 'ioredis';
import { startPrivateRedis } from './platform.ts';
import { until } from './until.ts';

const SLOTS = 16_384;

export interface RedisCluster {
  /** Every node, as `REDIS_URL` takes them with `ONQUEUE_REDIS_CLUSTER=true`. */
  url: string;
  nodes: readonly RedisServer[];
  stop(): Promise<void>;
}

/** A real Redis Cluster of masters on loopback, each with its share of the slots. */
export async function startRedisCluster(size = 3): Promise<RedisCluster> {
  // Nodes talk to each other on a second port, 10,000 above the first.
  const nodes = await Promise.all(
    Array.from({ length: size }, () => startPrivateRedis({ args: ['--cluster-enabled', 'yes'] })),
  );
  const clients = nodes.map(({ port }) => new Redis(port, '127.0.0.1'));
  try {
    await Promise.all(clients.map((client, index) => assignSlots(client, index, size)));
    for (const { port } of nodes.slice(1)) await clients[0]?.call('CLUSTER', 'MEET', '127.0.0.1', port);
    await Promise.all(clients.map((client) => until('the cluster is whole', () => knowsAll(client, size))));
  } finally {
    for (const client of clients) client.disconnect();
  }
  return {
    url: nodes.map(({ url }) => url).join(','),
    nodes,
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

async function assignSlots(client: Redis, index: number, size: number): Promise<void> {
  const from = Math.floor((index * SLOTS) / size);
  const to = Math.floor(((index + 1) * SLOTS) / size) - 1;
  await client.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: to - from + 1 }, (_, offset) => from + offset));
}

async function knowsAll(client: Redis, size: number): Promise<boolean> {
  const info = String(await client.call('CLUSTER', 'INFO'));
  return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${size}`);
}

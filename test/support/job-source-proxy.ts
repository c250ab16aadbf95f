import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a client and Redis, and breaks what tests want broken. */
export interface RedisProxy {
  readonly url: string;
  /** Replies that were lost so far. */
  readonly lostReplies: number;
  /** A request for which this is true reaches Redis; its reply does not come back, and the connection ends. */
  loseReplies(isChosen: (request: Buffer) => boolean): void;
  /** Ends all connections and refuses new ones. */
  cut(): void;
  /** Half-open: connections stay, nothing passes any more; new ones pass. */
  freeze(): void;
  /** Lets everything through again. What was frozen stays so: its bytes are gone. */
  mend(): void;
  close(): Promise<void>;
}

export async function startRedisProxy(redisPort: number): Promise<RedisProxy> {
  const pairs = new Set<{ client: Socket; upstream: Socket; isFrozen: boolean }>();
  let isCut = false;
  let lostReplies = 0;
  let isChosen: (request: Buffer) => boolean = () => false;

  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const pair = { client, upstream: connect(redisPort, '127.0.0.1'), isFrozen: false };
    const { upstream } = pair;
    pairs.add(pair);
    let isLosing = false;
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.on('data', (request) => {
      if (pair.isFrozen) return;
      isLosing ||= isChosen(request);
      upstream.write(request);
    });
    upstream.on('data', (reply) => {
      if (pair.isFrozen) return;
      if (isLosing) {
        lostReplies += 1;
        end();
      } else {
        client.write(reply);
      }
    });
    for (const socket of [client, upstream]) socket.on('close', end).on('error', end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const endAll = () => {
    for (const { client, upstream } of pairs) {
      client.destroy();
      upstream.destroy();
    }
  };
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get lostReplies() {
      return lostReplies;
    },
    loseReplies(choose) {
      isChosen = choose;
    },
    cut() {
      isCut = true;
      endAll();
    },
    freeze() {
      for (const pair of pairs) pair.isFrozen = true;
    },
    mend() {
      isCut = false;
      isChosen = () => false;
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      endAll();
      await closed;
    },
  };
}

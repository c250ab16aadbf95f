import { Redis } from 'ioredis';
import type { RedisConnection } from './connection.ts';

/**
 * Has the commands of one turn of the event loop leave together. ioredis writes each on its own, and with thousands a second
 * these system calls are a good part of what a process does. Order, replies, and what happens when the connection breaks stay
 * as they are, which a pipeline would change. A cluster is left alone: it has a connection for each node.
 */
export function gatherWrites(redis: RedisConnection): void {
  if (!(redis instanceof Redis)) return;
  const send = redis.sendCommand.bind(redis);
  let isGathering = false;
  redis.sendCommand = (command, stream) => {
    const { stream: socket } = redis;
    if (!isGathering && stream === undefined && socket !== undefined) {
      isGathering = true;
      socket.cork();
      setImmediate(() => {
        isGathering = false;
        // A connection that broke meanwhile is another one by now; this is the one that was corked.
        socket.uncork();
      });
    }
    return send(command, stream);
  };
}

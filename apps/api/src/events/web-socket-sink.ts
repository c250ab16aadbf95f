import type { EventGap, JobEvent } from '@onqueue/shared';
import type { WebSocket } from 'ws';
import type { EventSink } from './event-delivery.ts';

/** Close codes of RFC 6455 and its registry. */
const NORMAL = 1000;
const SERVICE_RESTART = 1012;

/** Events as text messages. `isDraining` says at the end whether there is more to tell, at another process. */
export function openWebSocketSink(socket: WebSocket, isDraining: () => boolean): EventSink {
  return {
    get unsentBytes() {
      return socket.bufferedAmount;
    },
    send(event: JobEvent | EventGap) {
      socket.send(JSON.stringify(event));
    },
    beat() {
      socket.ping();
    },
    end() {
      if (isDraining()) socket.close(SERVICE_RESTART, 'Go on at another process.');
      else socket.close(NORMAL);
    },
    drop() {
      socket.terminate();
    },
  };
}

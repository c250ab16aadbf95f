import type { Request } from 'express';

/** What a client may still be sending when it is refused, and how long that may take. */
const MAX_BYTES = 1024 * 1024;
const MAX_MS = 1000;

/**
 * Reads on for a while what nobody wants, so that the answer arrives: a connection that is closed while its client writes is reset, and the client
 * sees that instead. Resolves when the body has ended, or there was too much of it.
 */
export function discardRest(request: Request): Promise<void> {
  if (request.readableEnded || request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let bytes = 0;
    const stop = () => {
      clearTimeout(deadline);
      request.off('data', count).off('end', stop).off('error', stop).off('close', stop).pause();
      resolve();
    };
    const count = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) stop();
    };
    const deadline = setTimeout(stop, MAX_MS);
    request.on('data', count).on('end', stop).on('error', stop).on('close', stop).resume();
  });
}

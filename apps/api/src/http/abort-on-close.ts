import type { Response } from 'express';

/** Aborts when the client has gone, or has its answer. */
export function abortOnClose(response: Response): AbortSignal {
  const controller = new AbortController();
  response.on('close', () => controller.abort());
  return controller.signal;
}

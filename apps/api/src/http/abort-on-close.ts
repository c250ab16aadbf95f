import type { Response } from 'express';

/** Made once: an error without a reason is made for each abort, with its stack, and nobody reads it. */
const CLOSED = new Error('The connection was closed.');

/** Aborts when the client has gone, or has its answer. */
export function abortOnClose(response: Response): AbortSignal {
  const controller = new AbortController();
  response.on('close', () => controller.abort(CLOSED));
  return controller.signal;
}

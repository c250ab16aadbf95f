import { Problem } from '@onqueue/shared';
import type { RequestHandler } from 'express';

/** What HTTP/1.1 asks of a request and node:http leaves to us (see http-server.ts): a `Host`, and no strange `Expect`. */
export const protocolGuard: RequestHandler = (request, _response, next) => {
  const { host, expect } = request.headers;
  if (host === undefined && request.httpVersion === '1.1') {
    throw new Problem('malformed_http', 'The request has no Host header, which HTTP/1.1 asks for.');
  }
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    throw new Problem('expectation_failed', 'This server can meet no Expect but 100-continue.');
  }
  next();
};

import { randomUUID } from 'node:crypto';
import type { Tracer } from '@onqueue/shared';
import type { RequestHandler } from 'express';
import type { Logger } from 'pino';
import { type Caller, callerOf } from '../auth/caller.ts';
import type { ApiMetrics } from '../metrics.ts';
import { openRequestTrace, PROBES, traceIdField } from './request-trace.ts';

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

export interface RequestContextOptions {
  logger: Logger;
  metrics: ApiMetrics;
  /** Undefined: no spans are recorded. */
  tracer: Tracer | undefined;
}

/**
 * Gives every request an id (the client's `X-Request-Id` when it is a sane one) and a place in its trace, and logs and counts how it ended:
 * one line a request, never with a body, a query or a header.
 */
export function requestContext({ logger, metrics, tracer }: RequestContextOptions): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    const given = request.get('x-request-id');
    const requestId = given !== undefined && REQUEST_ID.test(given) ? given : newRequestId();
    response.locals.requestId = requestId;
    response.locals.receivedAtMs = startedAt;
    const trace = openRequestTrace(tracer, request, response);
    response.locals.trace = trace;
    response.set('X-Request-Id', requestId);
    response.on('close', () => {
      // The pattern, not the path: paths carry ids, and would make a metric without end.
      const route = (request.route as { path?: string } | undefined)?.path ?? 'unmatched';
      const durationMs = performance.now() - startedAt;
      metrics.requestDuration.observe(
        { method: request.method, route, status: response.statusCode },
        durationMs / 1000,
      );
      trace.end(route, durationMs);
      logger[PROBES.has(route) ? 'debug' : 'info'](
        {
          request_id: requestId,
          ...traceIdField(response),
          method: request.method,
          route,
          status: response.statusCode,
          duration_ms: Math.round(durationMs * 1000) / 1000,
          ...(response.locals.problemCode ? { problem: response.locals.problemCode } : {}),
          ...(response.locals.jobId ? { job_id: response.locals.jobId } : {}),
          ...(response.locals.caller ? keyField(callerOf(response)) : {}),
          // A connection that became a WebSocket has no response to finish.
          ...(response.writableFinished || response.statusCode === 101 ? {} : { aborted: true }),
        },
        'request',
      );
    });
    next();
  };
}

/** Of a key its id, which is no secret. */
function keyField({ tenant, keyId }: Caller): { tenant: string; key?: string } {
  return keyId === undefined ? { tenant } : { tenant, key: keyId };
}

export function newRequestId(): string {
  return `req_${randomUUID().replaceAll('-', '')}`;
}

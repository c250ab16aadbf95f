import { parseTraceContext, type TraceContext, type Tracer, traceIdOf } from '@onqueue/shared';
import type { Request, Response } from 'express';

/** What asks again and again whether we are alive; a trace of it would bury the others. */
export const PROBES: ReadonlySet<string> = new Set(['/livez', '/readyz', '/metrics']);

/** The place of a request in its trace. */
export interface RequestTrace {
  /** For what the request sets off; undefined when it is part of no trace. */
  context: TraceContext | undefined;
  end(route: string, durationMs: number): void;
}

/** With a tracer a request is a span, the client's or the first of its trace; without one the client's context is passed on. */
export function openRequestTrace(tracer: Tracer | undefined, request: Request, response: Response): RequestTrace {
  const parent = parseTraceContext(request.get('traceparent'), request.get('tracestate'));
  if (tracer === undefined || PROBES.has(request.path)) return { context: parent, end: () => {} };
  const startMs = Date.now();
  const { method } = request;
  const attributes = { 'http.request.method': method };
  const span = tracer.start({ name: method, kind: 'server', parent, startMs, attributes });
  return {
    context: span.context,
    end(route, durationMs) {
      const { statusCode, locals } = response;
      span.end({
        name: `${method} ${route}`,
        endMs: startMs + durationMs,
        attributes: {
          'http.route': route,
          'http.response.status_code': statusCode,
          'onqueue.request_id': locals.requestId,
          'onqueue.job.id': locals.jobId,
          'onqueue.problem': locals.problemCode,
        },
        // What a client did wrong is no failure of the server.
        error: statusCode >= 500 ? (locals.problemCode ?? String(statusCode)) : undefined,
      });
    },
  };
}

/** What a job keeps of the trace that its request is part of. */
export function traceOf({ locals }: Response): TraceContext | undefined {
  return (locals.trace as RequestTrace | undefined)?.context;
}

/** For the log: nothing when there is no trace. */
export function traceIdField(response: Response): { trace_id?: string } {
  const context = traceOf(response);
  return context === undefined ? {} : { trace_id: traceIdOf(context) };
}

import { Problem, type ProblemDocument } from '@onqueue/shared';
import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import type { Logger } from 'pino';
import type { ApiMetrics } from '../metrics.ts';
import { discardRest } from './discard-rest.ts';

/** Renders every error as RFC 9457; what is not a Problem by then is a bug, logged and answered 500 without details. */
export function problemHandler(logger: Logger, metrics: ApiMetrics): ErrorRequestHandler {
  return (error, request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const problem = toProblem(error);
    const isBug = problem.code === 'internal_error';
    if (isBug || problem.needsOperator) {
      logger.error(
        { err: error, request_id: response.locals.requestId, method: request.method, path: request.path },
        isBug ? 'bug' : problem.code,
      );
    }
    if (request.method === 'POST' && request.path === '/jobs') metrics.jobsRefused.inc({ problem: problem.code });
    if (problem.code !== 'payload_too_large') {
      sendProblem(response, problem);
      return;
    }
    // Whatever is sent beyond that will not be read.
    response.set('Connection', 'close');
    void discardRest(request).then(() => sendProblem(response, problem));
  };
}

function sendProblem(response: Response, problem: Problem): void {
  if (problem.retryAfterS !== undefined) response.set('Retry-After', String(problem.retryAfterS));
  if (problem.challenge !== undefined) response.set('WWW-Authenticate', problem.challenge);
  response.locals.problemCode = problem.code;
  const document: ProblemDocument = problem.toDocument(response.locals.requestId as string);
  response.status(problem.status).type('application/problem+json').send(JSON.stringify(document));
}

export const notFound: RequestHandler = (request) => {
  throw new Problem('not_found', `There is no ${request.method} ${request.path}.`);
};

/**
 * The last handler of a path, told which methods it has: answers OPTIONS, and whatever comes beside them is told what is
 * allowed. Express serves HEAD wherever there is a GET.
 */
export function otherMethods(...methods: ('GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE')[]): RequestHandler {
  const allowed = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  return (request, response) => {
    response.set('Allow', allowed);
    if (request.method !== 'OPTIONS') {
      throw new Problem('method_not_allowed', `${request.method} is not allowed here; allowed: ${allowed}.`);
    }
    response.status(204).end();
  };
}

/** Errors of Express' own parts carry a `type` or a status. */
function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { type, status, message } = error as { type?: string; status?: number; message?: string };
  switch (type) {
    case 'entity.too.large':
      return new Problem('payload_too_large', 'The body is larger than this server accepts (ONQUEUE_MAX_BODY_BYTES).', {
        cause: error,
      });
    case 'encoding.unsupported':
      return new Problem('unsupported_media_type', 'Send the body without a Content-Encoding.', { cause: error });
  }
  if (status !== undefined && status >= 400 && status < 500) {
    return new Problem('invalid_request', message ?? 'The request is not valid.', { cause: error });
  }
  return new Problem('internal_error', 'Something broke on our side. Tell us the request_id.', { cause: error });
}

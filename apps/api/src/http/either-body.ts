import { type RequestHandler, Router } from 'express';
import { isMultipart } from './multipart-job.ts';

/** Reads a form with the first, and all else with the others, which refuse what is no JSON. */
export function eitherBody(form: RequestHandler, others: readonly RequestHandler[]): RequestHandler {
  const json = Router().use(...others);
  return (request, response, next) => (isMultipart(request) ? form : json)(request, response, next);
}

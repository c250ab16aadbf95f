import { Router } from 'express';
import { otherMethods } from '../http/problem-handler.ts';

/** `GET /openapi.json`. */
export function openApiRoutes(document: object): Router {
  const text = JSON.stringify(document);
  const router = Router();
  router
    .route('/openapi.json')
    .get((_request, response) => {
      response.type('application/json').send(text);
    })
    .all(otherMethods('GET'));
  return router;
}

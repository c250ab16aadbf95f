import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Router } from 'express';
import { otherMethods } from '../http/problem-handler.ts';

/** Of swagger-ui-dist, and nothing else of it: the page works without any other server. */
const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js'];
const SCRIPT = 'openapi.js';

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>onqueue API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<noscript>This page needs JavaScript. The document that it shows is <a href="openapi.json">openapi.json</a>.</noscript>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/${SCRIPT}"></script>
</body>
</html>
`;

/** `validatorUrl` is swagger.io unless told otherwise, and gets the address of the document. */
const START = `SwaggerUIBundle({
  url: 'openapi.json', dom_id: '#docs', deepLinking: true, validatorUrl: null, displayRequestDuration: true,
});
`;

/** `GET /docs`: the document of `/openapi.json` to read and to try, by Swagger UI from this server. */
export function docsRoutes({ publicUrl }: { publicUrl: string | undefined }): Router {
  const folder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const apiOrigin = publicUrl === undefined ? '' : ` ${new URL(publicUrl).origin}`;
  // Swagger UI styles its elements one by one. Without upgrade-insecure-requests: the API may be served without TLS.
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    `connect-src 'self'${apiOrigin}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  const router = Router();
  router
    .route('/docs')
    .get((request, response) => {
      // What the page loads is named from its own address, so that it works below any path of a proxy.
      if (request.path.endsWith('/')) response.redirect(308, '../docs');
      else response.set('Content-Security-Policy', policy).type('html').send(PAGE);
    })
    .all(otherMethods('GET'));
  router
    .route('/docs/:asset')
    .get((request, response, next) => {
      const { asset } = request.params;
      if (asset === SCRIPT) response.type('js').send(START);
      else if (ASSETS.includes(asset)) response.sendFile(join(folder, asset), { maxAge: '1h' });
      else next('route');
    })
    .all(otherMethods('GET'));
  return router;
}

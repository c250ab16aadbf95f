import { expect, test } from '@jest/globals';
import type { Router } from 'express';
import { auditRoutes } from '../routes/admin-audit.ts';
import { keyRoutes } from '../routes/admin-keys.ts';
import { tenantRoutes } from '../routes/admin-tenants.ts';
import { docsRoutes } from '../routes/docs.ts';
import { fileRoutes } from '../routes/files.ts';
import { jobRoutes } from '../routes/jobs.ts';
import { laneRoutes } from '../routes/lanes.ts';
import { modelVersionRoutes } from '../routes/model-versions.ts';
import { modelRoutes } from '../routes/models.ts';
import { openApiRoutes } from '../routes/openapi.ts';
import { operationRoutes } from '../routes/operations.ts';
import { webhookDeliveryRoutes } from '../routes/webhook-deliveries.ts';
import { webhookEndpointRoutes } from '../routes/webhook-endpoints.ts';
import { openApiDocument } from './document.ts';

const document = openApiDocument({ version: '1.2.3', publicUrl: 'https://onqueue.example' });

/** `GET /jobs/{id}` for each route that a router serves. */
function routesOf(router: Router): string[] {
  return router.stack.flatMap(({ route }) => {
    if (!route) return [];
    const methods = route.stack.map((layer) => layer.method).filter((method): method is string => Boolean(method));
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    return [...new Set(methods)].map((method) => `${method.toUpperCase()} ${path}`);
  });
}

test('has every route, and none that is not served', () => {
  // Nothing is called: routes are only counted.
  const routers = [
    jobRoutes({ readBody: [] } as never),
    fileRoutes({ readBody: [] } as never),
    modelRoutes({} as never),
    laneRoutes({} as never),
    modelVersionRoutes({ readBody: [] } as never),
    operationRoutes({} as never),
    openApiRoutes({}),
    docsRoutes({ publicUrl: undefined }),
    webhookEndpointRoutes({ readBody: [] } as never),
    webhookDeliveryRoutes({ readBody: [] } as never),
    tenantRoutes({ readBody: [] } as never),
    keyRoutes({ readBody: [] } as never),
    auditRoutes({} as never),
  ];
  const documented = Object.entries(document.paths ?? {}).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(documented.sort()).toEqual(routers.flatMap(routesOf).sort());
});

test('names each operation once, and resolves every reference', () => {
  const text = JSON.stringify(document);
  const ids = [...text.matchAll(/"operationId":"(\w+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const schemas = Object.keys(document.components?.schemas ?? {});
  const references = [...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name);
  expect(references.filter((name) => !schemas.includes(String(name)))).toEqual([]);
  expect(references.length).toBeGreaterThan(10);
});

test('says where the API is, and which version it has', () => {
  expect(document).toMatchObject({
    openapi: '3.1.1',
    info: { version: '1.2.3' },
    servers: [{ url: 'https://onqueue.example' }],
  });
});

import { expect, test } from '@jest/globals';
import { requiredScope } from './required-scope.ts';

test.each([
  ['GET', '/jobs', 'read'],
  ['HEAD', '/jobs/job_1', 'read'],
  ['POST', '/jobs', 'write'],
  ['DELETE', '/jobs/job_1', 'write'],
  ['PATCH', '/webhooks/endpoints/ep_1', 'write'],
  ['GET', '/admin/keys', 'admin'],
  ['GET', '/Admin/Keys/', 'admin'],
  ['POST', '/models/fraud/unload', 'admin'],
  ['POST', '/models/fraud/LOAD/', 'admin'],
  ['GET', '/metrics', 'metrics'],
  ['GET', '/METRICS/', 'metrics'],
  ['GET', '/nowhere', 'read'],
  ['BREW', '/nowhere', 'write'],
  ['GET', '/livez/jobs', 'read'],
  ['GET', '/docs/a/b', 'read'],
])('%s %s needs %s', (method, path, scope) => {
  expect(requiredScope(method, path)).toBe(scope);
});

test.each(['/livez', '/readyz', '/openapi.json', '/docs', '/docs/', '/docs/swagger-ui.css', '/DOCS'])(
  'GET %s needs no key',
  (path) => {
    expect(requiredScope('GET', path)).toBeUndefined();
  },
);

import { expect, test } from '@jest/globals';
import { isWaitingForRedis } from './redis-wait.ts';

test.each([
  ['an API whose check does not reach Redis', 503, { status: 'unready', redis: { status: 'unavailable' } }, true],
  ['a worker that reconnects', 503, { status: 'starting', redis: 'reconnecting', models: [] }, true],
  ['a worker that loads its models', 503, { status: 'starting', redis: 'ready', models: [] }, false],
  ['an API that refuses its Redis', 503, { status: 'unready', redis: { status: 'unsuitable' } }, false],
  ['an API that drains', 503, { status: 'draining', redis: { status: 'ok' } }, false],
  ['a process that is ready', 200, { status: 'ready', redis: 'ready' }, false],
  ['an answer without Redis', 503, {}, false],
])('%s: %i', (_, status, body, expected) => {
  expect(isWaitingForRedis({ status, body: JSON.stringify(body) })).toBe(expected);
});

test('an answer that is no JSON says nothing', () => {
  expect(isWaitingForRedis({ status: 503, body: 'Service Unavailable' })).toBe(false);
});

import { expect, test } from '@jest/globals';
import type { DeliveryLog, WebhookEndpoint, WebhookEndpoints } from '@onqueue/shared';
import { DeliveryLedger } from './delivery-ledger.ts';
import type { WebhookDelivery } from './webhook-queue.ts';

const delivery: WebhookDelivery = {
  schema_version: 1,
  event_id: 'evt_1',
  type: 'job.succeeded',
  tenant: 'default',
  job_id: 'job_1',
  url: 'https://old.example/',
  body: '{}',
  endpoint_id: 'ep_1',
};
const failure = { outcome: 'retry', status: 500, errorClass: 'status', latencyMs: 1.4 } as const;

function scene(state: { status?: WebhookEndpoint['status']; failingForMs?: number; isGone?: boolean } = {}) {
  const calls: unknown[][] = [];
  const note =
    (name: string, answer: unknown) =>
    async (...args: unknown[]) => {
      calls.push([name, ...args]);
      return answer;
    };
  const { status = 'enabled', failingForMs = 0, isGone = false } = state;
  const endpoint = isGone ? null : { id: 'ep_1', tenant: 'default', url: 'https://new.example/', status };
  const endpoints = {
    read: async () => endpoint,
    keys: async () => ({ secrets: [] }),
    noteSuccess: note('noteSuccess', undefined),
    noteFailure: note('noteFailure', failingForMs),
    disable: note('disable', true),
  } as unknown as WebhookEndpoints;
  const deliveries = { note: note('note', undefined) } as unknown as DeliveryLog;
  const disabled: unknown[] = [];
  const ledger = new DeliveryLedger({
    keysOf: () => ({ secrets: [] }),
    endpoints,
    deliveries,
    disableAfterMs: 1000,
    onDisabled: (one) => disabled.push(one),
  });
  return { ledger, calls, disabled, names: () => calls.map(([name]) => name) };
}

test('an endpoint is called where it is now, the webhook of a job where the job says', async () => {
  const { ledger } = scene();
  expect(await ledger.targetOf(delivery)).toMatchObject({ url: 'https://new.example/' });
  const { endpoint_id: _, ...own } = delivery;
  expect(await ledger.targetOf(own)).toMatchObject({ url: 'https://old.example/' });
});

test('nobody is called who was disabled or deleted, but for a test', async () => {
  expect(await scene({ isGone: true }).ledger.targetOf(delivery)).toEqual({ refused: 'endpoint_deleted' });
  const { ledger } = scene({ status: 'disabled' });
  expect(await ledger.targetOf(delivery)).toEqual({ refused: 'endpoint_disabled' });
  expect(await ledger.targetOf({ ...delivery, type: 'endpoint.test' })).toHaveProperty('url');
});

test.each([
  [999, []],
  [1000, [{ tenant: 'default', id: 'ep_1', reason: 'failing' }]],
])('an endpoint that has failed for %i ms, of 1000 that it may', async (failingForMs, expected) => {
  const { ledger, disabled } = scene({ failingForMs });
  await ledger.note(delivery, failure, false);
  expect(disabled).toEqual(expected);
});

test('a success ends the failing, and 410 disables at once', async () => {
  const good = scene({ failingForMs: 5000 });
  await good.ledger.note(delivery, { outcome: 'delivered', status: 200, latencyMs: 1 }, true);
  expect([good.names(), good.disabled]).toEqual([['note', 'noteSuccess'], []]);
  const gone = scene();
  await gone.ledger.note(delivery, { outcome: 'gone', status: 410, errorClass: 'status', latencyMs: 1 }, true);
  expect(gone.disabled).toEqual([{ tenant: 'default', id: 'ep_1', reason: 'gone' }]);
});

test('what was not sent says nothing about the endpoint', async () => {
  const { ledger, names } = scene();
  await ledger.note(delivery, { outcome: 'refused', errorClass: 'endpoint_disabled', latencyMs: 0 }, true);
  expect(names()).toEqual(['note']);
});

test.each([
  [failure, false, 'pending'],
  [failure, true, 'failed'],
  [{ outcome: 'delivered', status: 204, latencyMs: 1 } as const, true, 'delivered'],
])('how a delivery stands after an attempt: %j, over: %j', async (result, isOver, status) => {
  const { ledger, calls } = scene();
  await ledger.note(delivery, result, isOver);
  expect(calls[0]?.[0]).toBe('note');
  expect(calls[0]?.[1]).toMatchObject([{ tenant: 'default', status }]);
});

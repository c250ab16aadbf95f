import type { z } from 'zod';
import * as examples from './examples.ts';
import type { deliveryList, deliveryView, endpointWithSecret, webhookEndpointView } from './webhook-operations.ts';

const CREATED_AT = '2026-11-22T03:25:57.000Z';
const ENDPOINT_ID = 'ep_6f1ed002ab5595859014ebf0951522d9';
const DELIVERY_ID = 'dlv_1c0e4f3b9a7d4a36a4f1f6a52c3d7b90';
const SELF = `/webhooks/endpoints/${ENDPOINT_ID}`;
const PUBLIC_KEY = 'whpk_dBaqeGdAUbpnc9dVHRi9UHb8OGVwFENMJ3r/FuLuZCA=';

export const endpoint: z.infer<typeof webhookEndpointView> = {
  id: ENDPOINT_ID,
  object: 'webhook_endpoint',
  url: 'https://shop.example/hooks',
  description: null,
  events: ['job.failed'],
  models: ['fraud'],
  status: 'enabled',
  disabled_reason: null,
  rate_per_s: null,
  concurrency: null,
  secrets: [{ id: 'whs_0f9d1f2e3c4b5a6978876543', created_at: CREATED_AT, expires_at: null }],
  public_keys: [PUBLIC_KEY],
  created_at: CREATED_AT,
  updated_at: CREATED_AT,
  urls: { self: SELF, rotate: `${SELF}/rotate`, test: `${SELF}/test` },
};

export const newEndpoint: z.infer<typeof endpointWithSecret> = {
  ...endpoint,
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw5mCe7RxLq2w=',
};

export const endpoints = { object: 'list' as const, data: [endpoint] };

export const delivery: z.infer<typeof deliveryView> = {
  id: DELIVERY_ID,
  object: 'webhook_delivery',
  event_id: 'evt_ae0618f441004ce8cd1a9ea0e9c8c625',
  type: 'job.failed',
  status: 'failed',
  job_id: examples.job.id,
  endpoint_id: ENDPOINT_ID,
  receiver: 'https://shop.example',
  created_at: CREATED_AT,
  redeliveries: 0,
  attempts: 10,
  latest_attempts: [
    { at: CREATED_AT, outcome: 'retry', status: 503, error_class: 'status', latency_ms: 41, answer: 'busy' },
  ],
  urls: {
    self: `/webhooks/deliveries/${DELIVERY_ID}`,
    redeliver: `/webhooks/deliveries/${DELIVERY_ID}/redeliver`,
  },
};

export const deliveries: z.infer<typeof deliveryList> = { object: 'list', data: [delivery], next_cursor: null };
export const redelivery = { object: 'redelivery' as const, deliveries: 12 };
export const test = {
  object: 'webhook_test' as const,
  event_id: 'evt_ae0618f441004ce8cd1a9ea0e9c8c625',
  urls: { deliveries: `/webhooks/deliveries?endpoint=${ENDPOINT_ID}&type=endpoint.test` },
};
export const keys = {
  keys: [{ algorithm: 'ed25519' as const, signature: 'v1a' as const, public_key: PUBLIC_KEY }],
};

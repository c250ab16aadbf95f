import { expect, test } from '@jest/globals';
import { createWebhookPolicy, type WebhookPolicyOptions } from './webhook-policy.ts';

const policy = (options: Partial<WebhookPolicyOptions> = {}) =>
  createWebhookPolicy({ isConfigured: true, allowHttp: false, allowCidrs: [], ...options });

test.each([undefined, 'https://hooks.example/x?token=t', 'https://1.1.1.1/', 'https://[2606:4700::1111]/'])(
  'lets %s through',
  (webhook) => expect(() => policy()(webhook)).not.toThrow(),
);

test.each([
  ['https://127.0.0.1/', 'do not go to 127.0.0.1'],
  ['https://127.1/', 'do not go to 127.0.0.1'],
  ['https://10.0.0.5:8443/hook', 'do not go to 10.0.0.5'],
  ['https://169.254.169.254/latest/meta-data', 'do not go to 169.254.169.254'],
  ['https://168.63.129.16/', 'do not go to 168.63.129.16'],
  ['https://[::1]/', 'do not go to ::1'],
  ['https://[::ffff:10.0.0.1]/', 'do not go to ::ffff:a00:1'],
  ['https://[fe80::1]/', 'do not go to fe80::1'],
  ['http://hooks.example/', 'https: URLs only'],
  ['https://me:pw@hooks.example/', 'no user name or password'],
])('refuses %s with a pointer to it', (webhook, detail) => {
  expect(() => policy()(webhook)).toThrow(
    expect.objectContaining({
      code: 'invalid_request',
      errors: [{ pointer: '/webhook', detail: expect.stringContaining(detail) }],
    }),
  );
});

test('lets an address through whose network the operator allows, and no other', () => {
  const open = policy({ allowCidrs: ['127.0.0.0/8', 'fd00::/8'] });
  for (const url of ['https://127.0.0.1/', 'https://[::ffff:127.0.0.1]/', 'https://[fd12::1]/']) {
    expect(() => open(url)).not.toThrow();
  }
  expect(() => open('https://10.0.0.1/')).toThrow('10.0.0.1');
});

test('takes http only on request, and no webhook at all without a secret', () => {
  expect(() => policy({ allowHttp: true })('http://hooks.example/')).not.toThrow();
  expect(() => policy({ isConfigured: false })('https://hooks.example/')).toThrow(
    expect.objectContaining({ code: 'webhooks_not_configured' }),
  );
});

import diagnostics from 'node:diagnostics_channel';
import type { LookupAddress } from 'node:dns';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import fetch from 'node-fetch';
import { type Receiver, startReceiver } from '../../../../test/support/receiver.ts';
import { createSsrfGuard, type SsrfGuardOptions, WebhookTargetRefused } from './ssrf-guard.ts';

let receiver: Receiver;
/** `address:port` of every connection that was attempted, by anyone in this process. */
let attempted: string[];
const watch = (message: unknown) =>
  (message as { socket: Socket }).socket.on('connectionAttempt', (ip, port) => attempted.push(`${ip}:${port}`));

beforeEach(async () => {
  receiver = await startReceiver();
  attempted = [];
  diagnostics.subscribe('net.client.socket', watch);
});
afterEach(async () => {
  diagnostics.unsubscribe('net.client.socket', watch);
  await receiver.close();
});

const NAMES: Record<string, LookupAddress[]> = {
  'public.test': [{ address: '93.184.215.14', family: 4 }],
  'loopback.test': [{ address: '127.0.0.1', family: 4 }],
  'loopback6.test': [{ address: '::1', family: 6 }],
  'mapped.test': [{ address: '::ffff:10.0.0.1', family: 6 }],
  'private.test': [{ address: '10.0.0.5', family: 4 }],
  'mixed.test': [
    { address: '93.184.215.14', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ],
  localhost: [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ],
};

function guardOf(options: Partial<SsrfGuardOptions> = {}) {
  return createSsrfGuard({
    allowCidrs: [],
    allowHttp: true,
    lookup: async (hostname) => {
      const addresses = NAMES[hostname];
      if (!addresses) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' });
      return addresses;
    },
    ...options,
  });
}

/** What a request to `url` through the guard ends in: a status, or the reason why none was made. */
async function call(url: string, guard = guardOf()): Promise<number | 'refused' | 'failed'> {
  try {
    const response = await fetch(guard.checkUrl(url).href, { agent: (parsed) => guard.agentFor(parsed) });
    await response.text();
    return response.status;
  } catch (error) {
    return guard.isRefusal(error) ? 'refused' : 'failed';
  }
}

const REFUSED_HOSTS = [
  // Loopback, as URLs let one write it.
  '127.0.0.1',
  '127.1',
  '0x7f.1',
  '0x7f000001',
  '2130706433',
  '0177.0.0.1',
  '017700000001',
  '127.0.0.1.',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  // IPv4 inside IPv6: mapped, compatible, NAT64, 6to4, Teredo.
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b:1::a00:1]',
  '[2002:7f00:1::]',
  '[2001::7f00:1]',
  // The clouds' metadata.
  '169.254.169.254',
  '[fd00:ec2::254]',
  '100.100.100.200',
  '168.63.129.16',
  // Private, shared, unspecified, link-local, unique local, multicast, broadcast, reserved.
  '10.0.0.1',
  '10.255.255.255',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '100.64.0.1',
  '100.127.255.255',
  '0.0.0.0',
  '0',
  '[::]',
  '[fe80::1]',
  '[fec0::1]',
  '[fc00::1]',
  '[fd12:3456:789a::1]',
  '224.0.0.1',
  '[ff02::1]',
  '255.255.255.255',
  '192.0.2.1',
  '198.18.0.1',
  '240.0.0.1',
  '[4000::1]',
  // Names, by what they resolve to.
  'localhost',
  'loopback.test',
  'loopback6.test',
  'mapped.test',
  'private.test',
  'mixed.test',
];

test.each(REFUSED_HOSTS)('refuses %s without connecting', async (host) => {
  expect(await call(`http://${host}:${receiver.port}/`)).toBe('refused');
  expect(await call(`https://${host}:${receiver.port}/`)).toBe('refused');
  expect(attempted).toEqual([]);
  expect(receiver.connections).toBe(0);
});

test('a name that is public at the first attempt and loopback at the second is refused then', async () => {
  const answers: LookupAddress[][] = [[{ address: '127.0.0.1', family: 4 }], [{ address: '127.0.0.2', family: 4 }]];
  const guard = guardOf({ allowCidrs: ['127.0.0.1'], lookup: async () => answers.shift() ?? [] });
  const url = `http://rebind.test:${receiver.port}/`;
  expect(await call(url, guard)).toBe(200);
  expect(await call(url, guard)).toBe('refused');
  expect(receiver.connections).toBe(1);
});

test('every attempt looks the name up again and connects anew', async () => {
  const lookup = jest.fn(async (): Promise<LookupAddress[]> => [{ address: '127.0.0.1', family: 4 }]);
  const guard = guardOf({ allowCidrs: ['127.0.0.0/8'], lookup });
  for (let i = 0; i < 3; i++) expect(await call(`http://again.test:${receiver.port}/`, guard)).toBe(200);
  expect(lookup).toHaveBeenCalledTimes(3);
  expect(receiver.connections).toBe(3);
});

test.each([
  ['127.0.0.1', ['127.0.0.0/8']],
  ['127.0.0.1', ['127.0.0.1']],
  ['127.0.0.1', ['fd00::/8', '127.0.0.1/32']],
  ['loopback.test', ['fd00::/8', '127.0.0.0/8']],
  ['[::ffff:127.0.0.1]', ['127.0.0.0/8']],
])('reaches %s when %p is allowed, without a word', async (host, allowCidrs) => {
  const warn = jest.spyOn(console, 'warn').mockImplementation(() => {});
  expect(await call(`http://${host}:${receiver.port}/`, guardOf({ allowCidrs }))).toBe(200);
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});

test.each([
  ['127.0.0.1', ['10.0.0.0/8']],
  ['127.0.0.2', ['127.0.0.1/32']],
  ['[::1]', ['127.0.0.0/8']],
  ['localhost', ['127.0.0.0/8']], // Its other address is not allowed.
])('an allowed network opens no other: %s stays refused under %p', async (host, allowCidrs) => {
  expect(await call(`http://${host}:${receiver.port}/`, guardOf({ allowCidrs }))).toBe('refused');
  expect(attempted).toEqual([]);
});

test('a name that does not resolve is a failure and no refusal', async () => {
  expect(await call('https://nowhere.test/')).toBe('failed');
});

test.each([
  ['http://public.test/', 'scheme'],
  ['ftp://public.test/', 'scheme'],
  ['file:///etc/passwd', 'scheme'],
  ['data:text/plain,hello', 'scheme'],
  ['unix:/var/run/docker.sock', 'scheme'],
  ['https://user@public.test/', 'credentials'],
  ['https://user:secret@public.test/', 'credentials'],
  ['public.test/hook', 'parsed'],
  ['https://', 'parsed'],
  [`https://public.test/${'a'.repeat(2048)}`, 'longer'],
])('refuses the URL %s before any lookup', (url, reason) => {
  const guard = guardOf({ allowHttp: false });
  expect(() => guard.checkUrl(url)).toThrow(WebhookTargetRefused);
  expect(() => guard.checkUrl(url)).toThrow(reason);
});

test('http is let through only on request', () => {
  expect(guardOf({ allowHttp: true }).checkUrl('http://public.test/').href).toBe('http://public.test/');
  expect(() => guardOf({ allowHttp: true }).checkUrl('ftp://public.test/')).toThrow('https or http');
});

test.each(['10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'example.com', '10.0.0.0/8/8', '10.0.0.0/', '', '10.0.0.0/-1'])(
  'refuses to start with %p as an allowed network',
  (network) => {
    expect(() => guardOf({ allowCidrs: [network] })).toThrow('CIDR');
  },
);

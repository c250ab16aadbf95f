import type { LookupAddress } from 'node:dns';
import net, { type LookupFunction, type Socket, type TcpSocketConnectOpts } from 'node:net';
import { afterAll, afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import fetch from 'node-fetch';
import { type Receiver, startReceiver } from '../../../../test/support/receiver.ts';
import { createSsrfGuard, type SsrfGuardOptions, WebhookTargetRefused } from './ssrf-guard.ts';

let receiver: Receiver;
/** The address of every connection that was attempted, by anyone in this process. */
let attempted: string[];
let internalHits = 0;

/**
 * Node's connector, of which the last step is ours: whatever address a socket is to connect to is written down, and the
 * connection is made to the receiver on loopback. So no packet leaves this machine, though the guard fail; a
 * request that it should have refused arrives at the receiver then, and is counted.
 */
function stubConnector(): void {
  const real = net.Socket.prototype.connect;
  jest.spyOn(net.Socket.prototype, 'connect').mockImplementation(function (this: Socket, ...args: unknown[]) {
    // `net` calls it with its own normalized arguments, an array of options and listener; `tls` with the options.
    const [options] = [args[0]].flat() as [TcpSocketConnectOpts];
    const { host = 'localhost', lookup } = options;
    options.port = receiver.port;
    if (net.isIP(host) !== 0) {
      attempted.push(host);
      options.host = '127.0.0.1';
    } else if (lookup) {
      const stubbed: LookupFunction = (hostname, lookupOptions, done) => {
        lookup(hostname, lookupOptions, (error, addresses) => {
          if (error) return done(error, []);
          for (const { address } of [addresses].flat() as LookupAddress[]) attempted.push(address);
          done(null, [{ address: '127.0.0.1', family: 4 }]);
        });
      };
      options.lookup = stubbed;
    } else {
      throw new Error(`A connection to ${host} that no lookup of ours resolves.`);
    }
    return Reflect.apply(real, this, args) as Socket;
  } as typeof real);
}

beforeEach(async () => {
  receiver = await startReceiver();
  attempted = [];
  stubConnector();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await receiver.close();
});
afterAll(() => expect(internalHits).toBe(0));

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
  internalHits += receiver.connections;
  expect(attempted).toEqual([]);
  expect(receiver.connections).toBe(0);
});

test('the stub catches what a guard that fails would let through', async () => {
  const guard = guardOf({ allowCidrs: ['169.254.0.0/16'] });
  expect(await call('http://169.254.169.254/', guard)).toBe(200);
  expect(attempted).toEqual(['169.254.169.254']);
  expect(receiver.requests).toHaveLength(1);
});

const CLOSING = { status: 200, headers: { connection: 'close' } };

test('a name that is public at the first connect and internal at every later one is refused then', async () => {
  receiver.respond(CLOSING);
  const answers: LookupAddress[][] = [[{ address: '93.184.215.14', family: 4 }]];
  const internal = ['127.0.0.1', '169.254.169.254', '10.0.0.1', '::ffff:10.0.0.1', '64:ff9b::7f00:1'];
  for (const address of internal) answers.push([{ address, family: net.isIP(address) }]);
  const guard = guardOf({ lookup: async () => answers.shift() ?? [] });
  const url = `http://rebind.test:${receiver.port}/`;
  expect(await call(url, guard)).toBe(200);
  for (const _ of internal) expect(await call(url, guard)).toBe('refused');
  expect(attempted).toEqual(['93.184.215.14']);
  expect(receiver.connections).toBe(1);
  guard.close();
});

test('between check and connect there is no second lookup that could answer otherwise', async () => {
  receiver.respond(CLOSING, CLOSING, CLOSING);
  const lookup = jest.fn(async (): Promise<LookupAddress[]> => [{ address: '93.184.215.14', family: 4 }]);
  const guard = guardOf({ lookup });
  for (let i = 0; i < 3; i++) expect(await call(`http://again.test:${receiver.port}/`, guard)).toBe(200);
  expect(lookup).toHaveBeenCalledTimes(3);
  expect(receiver.connections).toBe(3);
  guard.close();
});

test('a kept connection leads where it was checked to lead, whatever the name means by now', async () => {
  const answers: LookupAddress[][] = [[{ address: '93.184.215.14', family: 4 }], [{ address: '10.0.0.1', family: 4 }]];
  const guard = guardOf({ lookup: async () => answers.shift() ?? [] });
  for (let i = 0; i < 3; i++) expect(await call(`http://kept.test:${receiver.port}/`, guard)).toBe(200);
  expect(attempted).toEqual(['93.184.215.14']);
  expect(receiver.connections).toBe(1);
  // Another name for the same receiver has no part in it.
  expect(await call(`http://other.test:${receiver.port}/`, guard)).toBe('refused');
  guard.close();
});

test('connections that were kept are dropped on close', async () => {
  const guard = guardOf();
  expect(await call(`http://public.test:${receiver.port}/`, guard)).toBe(200);
  guard.close();
  await receiver.waitForClosed(1);
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

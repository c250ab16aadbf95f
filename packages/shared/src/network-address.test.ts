import { describe, expect, test } from '@jest/globals';
import { isInNetworks, isPublicAddress, literalAddress, parseNetworks } from './network-address.ts';

describe('an address', () => {
  test.each(['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.0.1', '172.32.0.1'])(
    '%s is public',
    (address) => expect(isPublicAddress(address)).toBe(true),
  );

  test.each(['223.255.255.255', '168.63.129.15', '2606:4700::1111', '2a00:1450::1', '2001:200::1'])(
    '%s is public too',
    (address) => expect(isPublicAddress(address)).toBe(true),
  );

  test.each([
    ...['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.16.0.1', '172.31.255.255'],
    ...['192.0.0.1', '192.0.2.1', '192.168.1.1', '198.19.255.255', '203.0.113.1', '224.0.0.1', '240.0.0.1'],
    ...['255.255.255.255', '168.63.129.16', '100.100.100.200'],
    ...['::', '::1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b:1::1'],
    ...['100::1', '2001::7f00:1', '2001:db8::1', '2002:7f00:1::', '3fff::1', '4000::1', 'fc00::1', 'fd00:ec2::254'],
    ...['fe80::1', 'fec0::1', 'ff02::1'],
  ])('%s is not public', (address) => expect(isPublicAddress(address)).toBe(false));

  test('is in a network also as IPv6 that carries it', () => {
    const networks = parseNetworks(['127.0.0.0/8', 'fd00::/8', '10.0.0.1']);
    expect(['127.9.9.9', '::ffff:127.0.0.1', 'fd12::1', '10.0.0.1'].map((it) => isInNetworks(it, networks))).toEqual(
      Array(4).fill(true),
    );
    expect(['128.0.0.1', 'fe80::1', '10.0.0.2'].map((it) => isInNetworks(it, networks))).toEqual(Array(3).fill(false));
  });
});

test.each([
  ['http://127.1/', '127.0.0.1'],
  ['http://0x7f000001/', '127.0.0.1'],
  ['https://2130706433/', '127.0.0.1'],
  ['https://127.0.0.1./', '127.0.0.1'],
  ['https://[0:0:0:0:0:0:0:1]:8443/', '::1'],
  ['https://[::ffff:7f00:1]/', '::ffff:7f00:1'],
  ['https://localhost/', undefined],
  ['https://10.example/', undefined],
])('the host of %s is %s', (url, address) => expect(literalAddress(new URL(url))).toBe(address));

test.each(['10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'example.com', '10.0.0.0/8/8', '10.0.0.0/', '', '10.0.0.0/-1'])(
  '%p is no network',
  (network) => expect(() => parseNetworks([network])).toThrow('CIDR'),
);

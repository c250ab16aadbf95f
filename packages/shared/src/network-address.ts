import { BlockList, isIP } from 'node:net';

/**
 * Networks in CIDR notation, or single addresses: `10.1.0.0/16`, `fd00::/8`, `10.0.0.1`. IPv6 that carries an IPv4 address
 * (`::ffff:10.0.0.1`) is in the network of that.
 * @throws Error that names what cannot be read.
 */
export function parseNetworks(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix, ...rest] = network.split('/');
    const family = isIP(address);
    const bits = prefix === undefined ? (family === 6 ? 128 : 32) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (family === 0 || bits < 0 || bits > (family === 6 ? 128 : 32) || rest.length > 0) {
      throw new Error(`"${network}" is no network in CIDR notation, such as 10.1.0.0/16`);
    }
    list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

export function isInNetworks(address: string, networks: BlockList): boolean {
  return networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** Whether an address is one of the public internet: what is not assigned, or assigned to a purpose, is none. */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 4) return !isInNetworks(address, SPECIAL_IPV4);
  return isInNetworks(address, ASSIGNED_IPV6) && !isInNetworks(address, SPECIAL_IPV6);
}

/** The address that a URL's host is, as URL has normalized it (`127.1` and `0x7f000001` too); undefined for a name. */
export function literalAddress({ hostname }: URL): string | undefined {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(host) === 0 ? undefined : host;
}

/** IANA's special-purpose registry, multicast, and what clouds have public addresses for. */
const SPECIAL_IPV4 = parseNetworks([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
  // Azure's metadata: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
  '168.63.129.16',
]);
/** Global unicast, all that IANA has handed out so far; loopback, private, mapped and NAT64 addresses are outside. */
const ASSIGNED_IPV6 = parseNetworks(['2000::/3']);
/** Protocol assignments (with Teredo), documentation, 6to4, AS112. */
const SPECIAL_IPV6 = parseNetworks(['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20']);

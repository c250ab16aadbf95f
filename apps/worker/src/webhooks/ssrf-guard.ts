import type { LookupAddress } from 'node:dns';
import { lookup as dnsLookup } from 'node:dns/promises';
import type { Agent } from 'node:http';
import type { LookupFunction } from 'node:net';
import { isInNetworks, isPublicAddress, literalAddress, parseNetworks } from '@onqueue/shared';
import { RequestFilteringHttpAgent, RequestFilteringHttpsAgent } from 'request-filtering-agent';

/** Keeps webhooks, whose URLs clients choose, away from our own network. */
export interface SsrfGuard {
  /**
   * What can be told without DNS: scheme and form.
   * @throws WebhookTargetRefused
   */
  checkUrl(url: string): URL;
  /**
   * An agent for one attempt. It connects only to addresses that it has checked itself, after the lookup, so a name that
   * changes between check and connect (DNS rebinding) gains nothing. Never kept: a pooled socket would skip the check.
   */
  agentFor(url: URL): Agent;
  /** Whether a request failed because the guard refused its target; every further attempt would meet the same. */
  isRefusal(error: unknown): boolean;
}

export interface SsrfGuardOptions {
  /** Networks beside the public ones that may be reached: `10.1.0.0/16`, `fd00::/8`, or a single address. */
  allowCidrs: readonly string[];
  /** Lets `http:` through. What goes over it can be read and, until the receiver checks the signature, changed. */
  allowHttp: boolean;
  /** DNS, so that tests can stub it. */
  lookup?: (hostname: string, options: { all: true; family: 0 | 4 | 6 }) => Promise<LookupAddress[]>;
}

/** The target must not be called, now or later: a final failure. */
export class WebhookTargetRefused extends Error {
  override readonly name = 'WebhookTargetRefused';
}

/**
 * Refuses by default whatever is not public unicast: private, shared (100.64/10), loopback, link-local (with the clouds'
 * metadata), multicast, reserved, and IPv6 forms that carry an IPv4 address inside (mapped, NAT64, 6to4, Teredo).
 * What is public is for network-address.ts to say, which the API asks too; request-filtering-agent holds its own list
 * (ipaddr.js) against it, and an address has to pass both. Its allow list is not used as it is: it logs a warning at
 * every connect whose family differs from a network in it, and compares single addresses as text. So the agent is told
 * only the addresses of its attempt that passed ours.
 * @throws Error when a network in `allowCidrs` cannot be read.
 */
export function createSsrfGuard({ allowCidrs, allowHttp, lookup = dnsLookup }: SsrfGuardOptions): SsrfGuard {
  const allowed = parseNetworks(allowCidrs);

  return {
    checkUrl: (text) => checkUrl(text, allowHttp),
    agentFor(url) {
      const exempt: string[] = [];
      const denied: string[] = [];
      const sort = (address: string) => {
        if (isInNetworks(address, allowed)) exempt.push(address);
        else if (!isPublicAddress(address)) denied.push(address);
      };
      const literal = literalAddress(url);
      if (literal !== undefined) sort(literal);
      const lookupAndSort: LookupFunction = (hostname, { all, family }, callback) => {
        lookup(hostname, { all: true, family: family === 4 || family === 6 ? family : 0 }).then(
          (addresses) => {
            for (const { address } of addresses) sort(address);
            const [first] = addresses;
            if (first === undefined) callback(new Error(`${hostname} has no address`), '');
            else if (all) callback(null, addresses);
            else callback(null, first.address, first.family);
          },
          (error: NodeJS.ErrnoException) => callback(error, ''),
        );
      };
      const Filtering = url.protocol === 'https:' ? RequestFilteringHttpsAgent : RequestFilteringHttpAgent;
      return new Filtering({
        lookup: lookupAndSort,
        allowIPAddressList: exempt,
        denyIPAddressList: denied,
      });
    },
    // The library's errors carry no code; node-fetch quotes their message. Held by the tests, the version is pinned.
    isRefusal: (error) =>
      error instanceof WebhookTargetRefused || (error instanceof Error && error.message.includes(REFUSED_BY_AGENT)),
  };
}

const REFUSED_BY_AGENT = ' is not allowed. Because';
const MAX_URL_LENGTH = 2048;

function checkUrl(text: string, allowHttp: boolean): URL {
  if (text.length > MAX_URL_LENGTH)
    throw new WebhookTargetRefused(`the URL is longer than ${MAX_URL_LENGTH} characters`);
  if (!URL.canParse(text)) throw new WebhookTargetRefused('the URL cannot be parsed');
  const url = new URL(text);
  if (url.protocol !== 'https:' && !(allowHttp && url.protocol === 'http:')) {
    throw new WebhookTargetRefused(`the URL's scheme must be https${allowHttp ? ' or http' : ''}`);
  }
  // They would be stored with the job and shown to whoever may read it; the signature is what proves the sender.
  if (url.username !== '' || url.password !== '') throw new WebhookTargetRefused('the URL holds credentials');
  return url;
}

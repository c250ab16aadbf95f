import type { LookupAddress } from 'node:dns';
import { lookup as dnsLookup } from 'node:dns/promises';
import { type Agent, Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { LookupFunction, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { rootCertificates } from 'node:tls';
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
   * The agent for a URL. It connects only to addresses that it has checked itself, after the lookup, so a name that changes
   * between check and connect (DNS rebinding) gains nothing. A connection is kept for a few seconds and used again by what
   * goes to the same host: it leads to the address that was checked, whatever the name means by now.
   */
  agentFor(url: URL): Agent;
  /** Whether a request failed because the guard refused its target; every further attempt would meet the same. */
  isRefusal(error: unknown): boolean;
  /** Drops the connections that are kept. */
  close(): void;
}

export interface SsrfGuardOptions {
  /** Networks beside the public ones that may be reached: `10.1.0.0/16`, `fd00::/8`, or a single address. */
  allowCidrs: readonly string[];
  /** Lets `http:` through. What goes over it can be read and, until the receiver checks the signature, changed. */
  allowHttp: boolean;
  /** Certificates (PEM) that are trusted beside the usual ones. */
  ca?: string;
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
export function createSsrfGuard({ allowCidrs, allowHttp, lookup = dnsLookup, ca }: SsrfGuardOptions): SsrfGuard {
  const allowed = parseNetworks(allowCidrs);

  /** Connects through an agent of the library that is made for this one connection. */
  const connect: Connect = (options, callback, Filtering) => {
    const exempt: string[] = [];
    const denied: string[] = [];
    const sort = (address: string) => {
      if (isInNetworks(address, allowed)) exempt.push(address);
      else if (!isPublicAddress(address)) denied.push(address);
    };
    // Node hands over IPv6 addresses without brackets.
    const host = String(options.host ?? '');
    const literal = literalAddress(new URL(`http://${host.includes(':') ? `[${host}]` : host}`));
    if (literal !== undefined) sort(literal);
    const lookupAndSort: LookupFunction = (hostname, { all, family }, done) => {
      lookup(hostname, { all: true, family: family === 4 || family === 6 ? family : 0 }).then(
        (addresses) => {
          for (const { address } of addresses) sort(address);
          const [first] = addresses;
          if (first === undefined) done(new Error(`${hostname} has no address`), '');
          else if (all) done(null, addresses);
          else done(null, first.address, first.family);
        },
        (error: NodeJS.ErrnoException) => done(error, ''),
      );
    };
    const agent = new Filtering({ allowIPAddressList: exempt, denyIPAddressList: denied });
    return agent.createConnection({ ...options, lookup: lookupAndSort } as never, callback as never) as Socket;
  };
  const http = new PinnedHttpAgent(connect);
  const https = new PinnedHttpsAgent(connect, ca);

  return {
    checkUrl: (text) => checkUrl(text, allowHttp),
    agentFor: ({ protocol }) => (protocol === 'https:' ? https : http),
    close() {
      http.destroy();
      https.destroy();
    },
    // The library's errors carry no code; node-fetch quotes their message. Held by the tests, the version is pinned.
    isRefusal: (error) =>
      error instanceof WebhookTargetRefused || (error instanceof Error && error.message.includes(REFUSED_BY_AGENT)),
  };
}

interface ConnectOptions {
  host?: string | null | undefined;
}
type Connected = ((error: Error | null, stream: Duplex) => void) | undefined;
type Connect = (
  options: ConnectOptions,
  callback: Connected,
  Filtering: typeof RequestFilteringHttpAgent | typeof RequestFilteringHttpsAgent,
) => Socket;

/** Below the 5 s after which Node's servers, and many others, close an idle connection: the race is theirs to win seldom. */
const IDLE_MS = 4000;
const KEPT_PER_HOST = 32;
/** A name may have come to mean another address. */
const MAX_AGE_MS = 60_000;

class PinnedHttpAgent extends HttpAgent {
  readonly #connect: Connect;
  readonly #openedMs = new WeakMap<Duplex, number>();

  constructor(connect: Connect) {
    super(KEEP);
    this.#connect = connect;
  }

  override createConnection(options: ConnectOptions, callback?: Connected): Socket {
    const socket = this.#connect(options, callback, RequestFilteringHttpAgent);
    this.#openedMs.set(socket, performance.now());
    return socket;
  }

  override keepSocketAlive(socket: Duplex): boolean {
    return isYoung(this.#openedMs.get(socket)) && isKept(super.keepSocketAlive(socket));
  }
}

class PinnedHttpsAgent extends HttpsAgent {
  readonly #connect: Connect;
  readonly #openedMs = new WeakMap<Duplex, number>();

  constructor(connect: Connect, ca: string | undefined) {
    super({ ...KEEP, ...(ca !== undefined && { ca: [...rootCertificates, ca] }) });
    this.#connect = connect;
  }

  override createConnection(options: ConnectOptions, callback?: Connected): Socket {
    const socket = this.#connect(options, callback, RequestFilteringHttpsAgent);
    this.#openedMs.set(socket, performance.now());
    return socket;
  }

  override keepSocketAlive(socket: Duplex): boolean {
    return isYoung(this.#openedMs.get(socket)) && isKept(super.keepSocketAlive(socket));
  }
}

const KEEP = { keepAlive: true, maxFreeSockets: KEPT_PER_HOST, timeout: IDLE_MS } as const;

/** Node answers with false when the receiver wants no more requests on it; the types say nothing of it. */
function isKept(answer: unknown): boolean {
  return answer !== false;
}

function isYoung(openedMs: number | undefined): boolean {
  return openedMs !== undefined && performance.now() - openedMs < MAX_AGE_MS;
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

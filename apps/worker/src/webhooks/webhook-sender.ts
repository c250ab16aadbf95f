import type { Agent, ClientRequest } from 'node:http';
import {
  type Clock,
  systemClock,
  type TraceContext,
  type WebhookKeys,
  type WebhookSecret,
  webhookHeaders,
} from '@onqueue/shared';
import nodeFetch, { type Response } from 'node-fetch';
import type { SsrfGuard } from './ssrf-guard.ts';

export type DeliveryOutcome =
  /** The receiver has it. */
  | 'delivered'
  /** It may have it or not: try again. */
  | 'retry'
  /** It wants no more of these (410). Final. */
  | 'gone'
  /** Its address must not be called. Final. */
  | 'refused';

/** Why an attempt failed, in few words: goes into logs and may become a label. */
type DeliveryErrorClass =
  | 'timeout'
  | 'dns'
  /** The certificate has expired, or is not valid yet. */
  | 'tls_expired'
  /** It is for other names. */
  | 'tls_hostname'
  /** Nobody whom we trust has signed it. */
  | 'tls_untrusted'
  /** There is no TLS, or none that both sides speak. */
  | 'tls_protocol'
  | 'connection'
  | 'redirect'
  | 'status'
  | 'refused_url'
  | 'refused_address'
  | 'endpoint_disabled'
  | 'endpoint_deleted';

export interface DeliveryResult {
  outcome: DeliveryOutcome;
  /** Of the answer, when there was one. */
  status?: number;
  latencyMs: number;
  errorClass?: DeliveryErrorClass;
  /** How the answer's body begins, at most 1 KiB. */
  answer?: string;
  /** What the receiver asked for, at most 24 h. */
  retryAfterMs?: number;
}

export interface WebhookSender {
  /** One attempt. Never rejects: every failure is an outcome. */
  send(attempt: {
    eventId: string;
    url: string;
    body: string;
    /** What signs it; the platform's secret when there are none. */
    keys?: WebhookKeys;
    trace?: TraceContext | undefined;
  }): Promise<DeliveryResult>;
}

export interface WebhookSenderOptions {
  /** Signs what comes with no keys of its own. */
  secret: WebhookSecret;
  guard: SsrfGuard;
  /** Ours, for the user agent. */
  version: string;
  /** For all of it: lookup, connect, answer and body. 15 s is the lower end of what the specification suggests. */
  timeoutMs?: number;
  /** Of the answer's body. Read so that the receiver finishes and the connection can be used again; at the cap it is dropped. */
  maxResponseBytes?: number;
  clock?: Clock;
  /** Unix milliseconds. */
  wallClock?: () => number;
  fetch?: typeof nodeFetch;
}

/** Posts signed events; https://github.com/standard-webhooks/standard-webhooks. */
export function createWebhookSender({
  secret,
  guard,
  version,
  timeoutMs = 15_000,
  maxResponseBytes = 65_536,
  clock = systemClock,
  wallClock = Date.now,
  fetch = nodeFetch,
}: WebhookSenderOptions): WebhookSender {
  async function attempt(
    { eventId, url, body, keys = { secrets: [secret] }, trace }: Parameters<WebhookSender['send']>[0],
    abort: AbortController,
  ): Promise<Judgement> {
    const target = guard.checkUrl(url);
    const timestampS = Math.floor(wallClock() / 1000);
    const post = (onRequest: (request: ClientRequest) => void) =>
      fetch(target.href, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': `onqueue-webhooks/${version}`,
          ...trace,
          ...webhookHeaders({ id: eventId, timestampS, body }, keys),
        },
        body,
        agent: (parsed) => watched(guard.agentFor(parsed), onRequest),
        // Followed, a redirect would carry the event to an address that nobody gave us.
        redirect: 'manual',
        // No compressed answers: nobody reads them, and a small one may unpack to gigabytes.
        compress: false,
        signal: abort.signal,
      });
    const response = await onFreshConnectionIfStale(post, abort.signal);
    // What a failing receiver has to say is worth a moment; a success is read to its end.
    const answer = response.ok
      ? await drain(response, maxResponseBytes)
      : await drainInTime(response, maxResponseBytes, clock);
    return { ...judge(response, wallClock()), ...(answer !== '' && { answer }) };
  }

  return {
    async send(delivery) {
      const startedMs = clock.now();
      const abort = new AbortController();
      let isTimedOut = false;
      const timer = clock.setTimeout(() => {
        isTimedOut = true;
        abort.abort();
      }, timeoutMs);
      let judgement: Judgement;
      try {
        judgement = await attempt(delivery, abort);
      } catch (error) {
        judgement = judgeFailure(error, guard, isTimedOut);
      } finally {
        timer.cancel();
        // Drops the connection of an answer that was not read to its end. With a reason, or Node makes an exception each time.
        abort.abort(IS_OVER);
      }
      return { ...judgement, latencyMs: clock.now() - startedMs };
    },
  };
}

type Judgement = Omit<DeliveryResult, 'latencyMs'>;

const MAX_RETRY_AFTER_MS = 24 * 3600 * 1000;

function judge({ status, ok, headers }: Response, nowMs: number): Judgement {
  if (ok) return { outcome: 'delivered', status };
  if (status === 410) return { outcome: 'gone', status, errorClass: 'status' };
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  return {
    outcome: 'retry',
    status,
    errorClass: status < 400 ? 'redirect' : 'status',
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
}

function judgeFailure(error: unknown, guard: SsrfGuard, isTimedOut: boolean): Judgement {
  if (guard.isRefusal(error)) {
    const isAboutUrl = error instanceof Error && error.name === 'WebhookTargetRefused';
    return { outcome: 'refused', errorClass: isAboutUrl ? 'refused_url' : 'refused_address' };
  }
  if (isTimedOut) return { outcome: 'retry', errorClass: 'timeout' };
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  if (/^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL)/.test(code)) return { outcome: 'retry', errorClass: 'dns' };
  return { outcome: 'retry', errorClass: tlsClassOf(code) ?? 'connection' };
}

/** Node's and OpenSSL's names of what may be wrong. */
function tlsClassOf(code: string): DeliveryErrorClass | undefined {
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return 'tls_expired';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH') return 'tls_hostname';
  if (/CERT|SIGNATURE|ISSUER/.test(code)) return 'tls_untrusted';
  if (/TLS|SSL|^EPROTO$/.test(code)) return 'tls_protocol';
  return undefined;
}

/** An agent that tells which request it was given. */
function watched(agent: Agent, onRequest: (request: ClientRequest) => void): Agent {
  const inner = agent as Agent & { addRequest(request: ClientRequest, ...rest: unknown[]): void };
  return Object.create(agent, {
    addRequest: {
      value: (request: ClientRequest, ...rest: unknown[]) => {
        onRequest(request);
        inner.addRequest(request, ...rest);
      },
    },
  }) as Agent;
}

/**
 * A receiver may close a kept connection at the moment in which it is used again. Node says so with `reusedSocket`; the
 * request is sent once more then, on whatever connection comes next: the same bytes, and part of the same attempt.
 */
async function onFreshConnectionIfStale(
  post: (onRequest: (request: ClientRequest) => void) => Promise<Response>,
  signal: AbortSignal,
): Promise<Response> {
  for (let tries = 0; ; tries++) {
    let request: ClientRequest | undefined;
    try {
      return await post((made) => {
        request = made;
      });
    } catch (error) {
      const { code } = error as { code?: unknown };
      const isStale = request?.reusedSocket === true && (code === 'ECONNRESET' || code === 'EPIPE');
      // As many kept connections may have died together as are kept; one that hangs up on principle is no such case.
      if (!isStale || signal.aborted || tries >= MAX_STALE) throw error;
    }
  }
}

const IS_OVER = new Error('The attempt is over.');
const MAX_STALE = 3;
const ANSWER_BYTES = 1024;
const FAILED_ANSWER_MS = 1000;

/** Reads up to `maxBytes` of the body; how it begins. */
async function drain({ body }: Response, maxBytes: number, onChunk = (_answer: string) => {}): Promise<string> {
  let answer = Buffer.alloc(0);
  if (body === null) return '';
  let bytes = 0;
  for await (const chunk of body) {
    if (answer.length < ANSWER_BYTES) {
      answer = Buffer.concat([answer, Buffer.from(chunk as Buffer)]).subarray(0, ANSWER_BYTES);
      onChunk(answer.toString());
    }
    bytes += chunk.length;
    if (bytes >= maxBytes) break;
  }
  return answer.toString();
}

/** The same, for at most a second: a failure is judged by its status, whatever becomes of its body. */
function drainInTime(response: Response, maxBytes: number, clock: Clock): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const timer = clock.setTimeout(() => resolve(answer), FAILED_ANSWER_MS);
    const end = () => {
      timer.cancel();
      resolve(answer);
    };
    drain(response, maxBytes, (begun) => {
      answer = begun;
    }).then(end, end);
  });
}

/** Seconds, or a date (RFC 9110, 10.2.3); anything else counts as not said. */
function parseRetryAfter(text: string | null, nowMs: number): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d{1,10}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}

/**
 * Where in a trace something happens, W3C Trace Context (https://www.w3.org/TR/trace-context/), as its two headers say it. It goes
 * with a job from the request to the webhook, whether or not this platform records spans.
 */
export interface TraceContext {
  /** `00-<trace id>-<parent's span id>-<flags>` */
  traceparent: string;
  /** What the tracing systems on the way add of their own. */
  tracestate?: string;
}

/**
 * The context that a request came with. Undefined when there is none, or none that the specification lets us use: such
 * a header is passed over and never an error, since whoever sent it mostly does not know of it.
 */
export function parseTraceContext(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | undefined {
  const [, version = '', traceId = '', spanId = '', flags = '', rest = ''] = TRACEPARENT.exec(traceparent ?? '') ?? [];
  if (version === '' || version === 'ff' || isZero(traceId) || isZero(spanId)) return undefined;
  // Only later versions may have more fields.
  if (version === '00' && rest !== '') return undefined;
  const kept = (Number.parseInt(flags, 16) & KNOWN_FLAGS).toString(16).padStart(2, '0');
  const state = parseTraceState(tracestate);
  return { traceparent: `00-${traceId}-${spanId}-${kept}`, ...(state === undefined ? {} : { tracestate: state }) };
}

export function traceIdOf({ traceparent }: TraceContext): string {
  return traceparent.slice(3, 35);
}

/** What records and messages say of it beside other fields; undefined when that is none. */
export function traceContextOf({ traceparent, tracestate }: Fields): TraceContext | undefined {
  if (traceparent === undefined || !STORED.test(traceparent)) return undefined;
  return { traceparent, ...(tracestate === undefined ? {} : { tracestate }) };
}

type Fields = { traceparent?: string | undefined; tracestate?: string | undefined };

const STORED = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** Sampled, and that the trace id is random; the specification has others set to zero by who does not know them. */
const KNOWN_FLAGS = 3;

const isZero = (id: string) => /^0*$/.test(id);

/** The specification asks to pass on this much at least, in whole members; it is stored with every job of the trace. */
const MAX_STATE_CHARACTERS = 512;
const MAX_STATE_MEMBERS = 32;
const STATE_KEY = /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})$/;
const STATE_VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** The members as they came; undefined when one is none, for then nothing is known of the others. */
function parseTraceState(text: string | undefined): string | undefined {
  const members = (text ?? '').split(',').map((member) => member.trim());
  const given = members.filter((member) => member !== '');
  const keys = new Set<string>();
  for (const member of given) {
    const equals = member.indexOf('=');
    const key = member.slice(0, Math.max(0, equals));
    if (!STATE_KEY.test(key) || !STATE_VALUE.test(member.slice(equals + 1)) || keys.has(key)) return undefined;
    keys.add(key);
  }
  if (given.length === 0 || given.length > MAX_STATE_MEMBERS) return undefined;
  while (given.join(',').length > MAX_STATE_CHARACTERS) given.pop();
  return given.length === 0 ? undefined : given.join(',');
}

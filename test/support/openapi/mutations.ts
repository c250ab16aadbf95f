import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { RequestDraft } from './request-drafts.ts';

/** Makes one part of a request wrong: its body, its query, a header, its path or its method. */
export type Mutation = (draft: RequestDraft) => RequestDraft;

export function mutations(): fc.Arbitrary<Mutation> {
  return fc.oneof(
    { arbitrary: jsonMutations(), weight: 4 },
    { arbitrary: textMutations(), weight: 2 },
    { arbitrary: queryMutations(), weight: 2 },
    { arbitrary: headerMutations(), weight: 3 },
    { arbitrary: pathMutations(), weight: 2 },
    {
      arbitrary: fc.constant<Mutation>((draft) => (draft.method === 'GET' ? { ...draft, method: 'HEAD' } : draft)),
      weight: 1,
    },
  );
}

const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as unknown;

const junk: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 1e308, 2 ** 53, '', ' ', '\u0000', '\ud800', '😀', '../..', 'NaN'),
  fc.constantFrom<unknown>([], {}, [[]], 'x'.repeat(100_000), Array(5000).fill(0), nested(40)),
  fc.constantFrom<unknown>(
    JSON.parse('{"__proto__":{"model":"x"}}'),
    { constructor: { prototype: 1 } },
    { toString: 1 },
  ),
  fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' }),
);

const names = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'toString', '', ' ', 'id', 'model', 'limit', 'x'.repeat(5000), '😀'),
  fc.string({ maxLength: 20, unit: 'grapheme' }),
);

/** A value replaced, a member left out, or one too many, at any depth. */
function jsonMutations(): fc.Arbitrary<Mutation> {
  return fc
    .record({ at: fc.nat(), kind: fc.constantFrom('replace', 'remove', 'add'), value: junk, name: names })
    .map(({ at, kind, value, name }) => (draft) => {
      if (draft.json === undefined) return draft;
      const json = structuredClone({ body: draft.json }) as Record<string, unknown>;
      const places = placesIn(json);
      const [holder, key] = places[at % places.length] as Place;
      if (kind === 'replace' || holder === json) holder[key] = value;
      else if (kind === 'remove') Reflect.deleteProperty(holder, key);
      // Defined, since assigning to `__proto__` would set no member.
      else Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true });
      return { ...draft, json: json.body ?? null };
    });
}

type Place = [holder: Record<string, unknown>, key: string];

function placesIn(holder: Record<string, unknown>): Place[] {
  return Object.entries(holder).flatMap(([key, value]) => [
    [holder, key] as Place,
    ...(typeof value === 'object' && value !== null ? placesIn(value as Record<string, unknown>) : []),
  ]);
}

/** What no JSON value can say: a key twice, numbers beyond doubles, half a text, other encodings, nothing at all. */
function textMutations(): fc.Arbitrary<Mutation> {
  const changes: ((text: string) => string | Buffer)[] = [
    (text) => text.replace(/^\{("(?:[^"\\]|\\.)*"):/, '{$1:null,$1:'),
    (text) => text.replace(/-?\d+(\.\d+)?/, '1e400'),
    (text) => text.replace(/"[^"]*"/, '"\\ud800"'),
    (text) => text.slice(0, text.length / 2),
    (text) => text.replaceAll('"', "'"),
    (text) => `\ufeff${text}`,
    (text) => `${text}${text}`,
    (text) => Buffer.from(text, 'utf16le'),
    (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xfe, 0x80])]),
    (text) => gzipSync(text),
    () => '',
    () => 'null',
    () => '\u0000',
  ];
  return fc.constantFrom(...changes).map((change) => (draft) => {
    const text = draft.bytes?.toString('latin1') ?? (draft.json === undefined ? '' : JSON.stringify(draft.json));
    return { ...draft, bytes: Buffer.from(change(text)) };
  });
}

function queryMutations(): fc.Arbitrary<Mutation> {
  const value = fc.oneof(
    fc.constantFrom('', '0', '-1', '1e9', 'true', '\u0000', 'x'.repeat(3000), '1,2', '[]', '2026-13-45T00:00:00Z'),
    fc.string({ maxLength: 30, unit: 'binary' }),
  );
  return fc.oneof(
    fc.tuple(names, value).map(
      ([name, text]): Mutation =>
        (draft) => ({ ...draft, query: [...draft.query, [name, text]] }),
    ),
    value.map(
      (text): Mutation =>
        (draft) => ({ ...draft, query: draft.query.map(([name]) => [name, text]) }),
    ),
    fc.constant<Mutation>((draft) => ({ ...draft, query: [...draft.query, ...draft.query] })),
  );
}

const HEADERS = [
  'accept',
  'accept-encoding',
  'cancel-after',
  'content-digest',
  'content-encoding',
  'content-type',
  'cookie',
  'expect',
  'idempotency-key',
  'if-none-match',
  'last-event-id',
  'prefer',
  'range',
  'traceparent',
  'x-request-id',
];
const WEB_SOCKET = { connection: 'Upgrade', upgrade: 'websocket' };

function headerMutations(): fc.Arbitrary<Mutation> {
  const value = fc.oneof(
    fc.constantFrom(
      '',
      ',,;=',
      '*',
      '"',
      'é',
      '-1',
      '0',
      'gzip',
      'identity',
      'W/"x"',
      'wait=99999999999',
      '1-2',
      '9-9',
    ),
    fc.constantFrom('application/json', 'application/json; charset=utf-16', 'multipart/form-data', 'text/html', 'a/b'),
    fc.constantFrom('application/x-ndjson;q=0', 'bytes=0-1', '100-continue', 'x'.repeat(300), 'x'.repeat(20_000)),
    fc.string({ maxLength: 40 }).map((text) => text.replace(/[^\x20-\x7e]/g, '?')),
  );
  const set = (headers: Record<string, string>): Mutation => {
    return (draft) => ({ ...draft, headers: { ...draft.headers, ...headers } });
  };
  return fc.oneof(
    { arbitrary: fc.tuple(fc.constantFrom(...HEADERS), value).map(([name, text]) => set({ [name]: text })), weight: 6 },
    fc.constantFrom(
      set(WEB_SOCKET),
      set({ ...WEB_SOCKET, 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }),
      set({ ...WEB_SOCKET, 'sec-websocket-version': '99', 'sec-websocket-key': 'x' }),
      set({ connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c' }),
    ),
    fc.constant<Mutation>(({ headers: { 'content-type': _, ...headers }, ...draft }) => ({ ...draft, headers })),
  );
}

/** The last segment, or one before it, becomes something that no client of ours sends. */
function pathMutations(): fc.Arbitrary<Mutation> {
  const segment = fc.oneof(
    fc.constantFrom(
      '%00',
      '%zz',
      '%F0%9F',
      '%',
      '%2F',
      '%2e%2e',
      '%F0%9F%98%80',
      '1',
      '0',
      '-1',
      '999999999',
      '*',
      '{id}',
    ),
    fc.constantFrom(
      'x'.repeat(2000),
      "'%20or%201=1",
      'constructor',
      '__proto__',
      `job_${'0'.repeat(29)}`,
      'job_',
      ';a=b',
    ),
    fc
      .string({ minLength: 1, maxLength: 30, unit: 'grapheme' })
      .map((text) => encodeURIComponent(text).replace(/^\.+$/, 'x')),
  );
  return fc.record({ segment, at: fc.nat() }).map(({ segment: text, at }) => (draft) => {
    const variable = variablesOf(draft);
    if (variable.length === 0) return draft;
    const segments = draft.path.split('/');
    segments[variable[at % variable.length] as number] = text;
    return { ...draft, path: segments.join('/') };
  });
}

/** Which segments are values: another one in the place of a fixed one would be another route. */
function variablesOf({ path, template }: RequestDraft): number[] {
  const fixed = template.split('/');
  return path.split('/').flatMap((_, index) => (fixed[index]?.startsWith('{') ? [index] : []));
}

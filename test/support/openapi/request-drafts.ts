import fc from 'fast-check';
import type { RawRequest } from '../raw-request.ts';
import type { ApiDocument, MediaType, Operation, Parameter, Schema } from './api-document.ts';
import { type SchemaValues, valuesOf } from './schema-values.ts';

/** A request before it is written down, so that each of its parts can be made wrong. */
export interface RequestDraft {
  method: string;
  /** With `{id}` where `path` has a value. */
  template: string;
  path: string;
  query: [name: string, value: string][];
  headers: Record<string, string>;
  /** What is written as JSON; `bytes` comes before it. */
  json?: unknown;
  bytes?: Buffer;
}

/** Values that exist on the server, by the name of the parameter or member; the first one is right wherever it is asked for. */
export type Known = Readonly<Record<string, readonly [unknown, ...unknown[]]>>;

/** Requests of an operation as the document allows them. Whether the server likes the values is another matter. */
export function draftsOf(operation: Operation, api: ApiDocument, known: Known): fc.Arbitrary<RequestDraft> {
  const context: SchemaValues = { components: api.document.components.schemas, known };
  const parameters = operation.parameters ?? [];
  const valuesFor = (parameter: Parameter) => parameterValues(parameter, context);
  const some = (place: Parameter['in']) => {
    const these = parameters.filter((one) => one.in === place);
    const required = these.filter((one) => one.required || place === 'path').map(({ name }) => name);
    return fc.record(Object.fromEntries(these.map((one) => [one.name, sometimes(one, place, valuesFor(one))])), {
      requiredKeys: required,
    });
  };
  return fc
    .record({ path: some('path'), query: some('query'), header: some('header'), body: bodies(operation, context) })
    .map(({ path, query, header, body }) => ({
      method: operation.method,
      template: operation.path,
      path: operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(path[name]))),
      query: Object.entries(query).flatMap(([name, value]) => queryPairs(name, value)),
      headers: { ...textsOf(header), ...body.headers },
      ...(body.json === undefined ? {} : { json: body.json }),
      ...(body.bytes === undefined ? {} : { bytes: body.bytes }),
    }));
}

export function toRawRequest({ method, path, query, headers, json, bytes }: RequestDraft): RawRequest {
  const text = query.map(([name, value]) => `${escapeQuery(name)}=${escapeQuery(value)}`).join('&');
  const body = bytes ?? (json === undefined ? undefined : Buffer.from(JSON.stringify(json)));
  return { method, path: text === '' ? path : `${path}?${text}`, headers, ...(body === undefined ? {} : { body }) };
}

/** An optional parameter is left out more often than not: each of them may be what the server refuses. */
function sometimes({ required }: Parameter, place: Parameter['in'], values: fc.Arbitrary<unknown>) {
  return required || place === 'path' ? values : fc.option(values, { nil: undefined, freq: 2 });
}

function parameterValues({ name, in: place, schema }: Parameter, context: SchemaValues): fc.Arbitrary<unknown> {
  const any = valuesOf(schema, context);
  const known = context.known[name];
  const values = known ? fc.oneof({ arbitrary: fc.constantFrom(...known), weight: 4 }, any) : any;
  // An empty segment is another path; a header holds what node:http sends.
  if (place === 'path') return values.map((value) => (segmentOf(value) === '' ? 'x' : segmentOf(value)));
  if (place === 'header') return values.map((value) => String(value).replace(/[^\x20-\x7e]/g, '?'));
  return values;
}

/** `.` and `..` mean other paths, also escaped. */
function segmentOf(value: unknown): string {
  return wellFormed(String(value)).replace(/^\.{1,2}$/, 'x');
}

function queryPairs(name: string, value: unknown): [string, string][] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null) return [[name, String(value)]];
  return Object.entries(value).map(([key, member]) => [`${name}[${key}]`, String(member)]);
}

function textsOf(values: Record<string, unknown>): Record<string, string> {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name.toLowerCase(), String(value)]));
}

function escapeQuery(text: string): string {
  return encodeURIComponent(wellFormed(text));
}

/** Lone halves of characters have no escape. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

interface Body {
  headers: Record<string, string>;
  json?: unknown;
  bytes?: Buffer;
}

function bodies({ requestBody }: Operation, context: SchemaValues): fc.Arbitrary<Body> {
  if (!requestBody) return fc.constant({ headers: {} });
  const kinds = Object.entries(requestBody.content).map(([type, media]) => bodiesOf(type, media, context));
  return requestBody.required ? fc.oneof(...kinds) : fc.oneof(fc.constant({ headers: {} }), ...kinds);
}

function bodiesOf(type: string, media: MediaType, context: SchemaValues): fc.Arbitrary<Body> {
  if (type === 'application/json') {
    return jsonBodies(media, context).map((json) => ({ headers: { 'content-type': type }, json }));
  }
  if (type === 'multipart/form-data') return jsonBodies(media, context).map((parts) => formOf(parts, media.schema));
  const types = fc.constantFrom('application/octet-stream', 'text/plain', 'image/png', 'nonsense', '');
  return fc
    .record({ type: types, content: fc.uint8Array({ maxLength: 200 }) })
    .map(({ type: contentType, content }) => ({
      headers: { 'content-type': contentType },
      bytes: Buffer.from(content),
    }));
}

/** The example of the document, with members that exist here; the same with one or two more members; or anything. */
function jsonBodies({ schema = {}, example }: MediaType, context: SchemaValues): fc.Arbitrary<unknown> {
  const any = valuesOf(schema, context);
  if (typeof example !== 'object' || example === null) return any;
  const right = withKnown(example as Schema, context.known);
  const extended = fc
    .tuple(any, fc.nat(), fc.nat())
    .map(([members, ...picks]) => ({ ...right, ...membersOf(members, picks) }));
  return fc.oneof({ arbitrary: fc.constant(right), weight: 2 }, { arbitrary: extended, weight: 2 }, any);
}

function withKnown(example: Schema, known: SchemaValues['known']): Schema {
  return Object.fromEntries(Object.entries(example).map(([name, value]) => [name, known[name]?.[0] ?? value]));
}

function membersOf(value: unknown, picks: number[]): Schema {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  if (entries.length === 0) return {};
  return Object.fromEntries(picks.map((pick) => entries[pick % entries.length] as [string, unknown]));
}

const BOUNDARY = 'boundary-of-a-form';

function formOf(parts: unknown, schema: Schema = {}): Body {
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  const chunks = Object.entries((parts ?? {}) as Schema).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((content) => {
      const file = properties[name]?.type === 'array' ? '; filename="file"\r\nContent-Type: image/png' : '';
      const text = typeof content === 'string' ? content : JSON.stringify(content);
      const disposition = `Content-Disposition: form-data; name="${name.replace(/[\r\n"]/g, '?')}"${file}`;
      return `--${BOUNDARY}\r\n${disposition}\r\n\r\n${text}\r\n`;
    }),
  );
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
    bytes: Buffer.from(`${chunks.join('')}--${BOUNDARY}--\r\n`),
  };
}

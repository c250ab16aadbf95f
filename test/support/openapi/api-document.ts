import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

export type Schema = Record<string, unknown>;
export interface MediaType {
  schema?: Schema;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}
export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
  style?: string;
}
export interface HeaderObject {
  required?: boolean;
  schema: Schema;
}
export interface ResponseObject {
  $ref?: string;
  headers?: Record<string, HeaderObject>;
  content?: Record<string, MediaType>;
}
export interface OperationObject {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, MediaType> };
  responses: Record<string, ResponseObject>;
}
export interface OpenApi {
  openapi: string;
  paths: Record<string, Record<string, OperationObject>>;
  webhooks: Record<string, Record<string, OperationObject>>;
  components: { schemas: Record<string, Schema>; responses?: Record<string, ResponseObject> };
}

export interface Operation extends OperationObject {
  method: string;
  path: string;
}

/** A reply as it came; `body` is parsed where the content type says JSON, and text otherwise. */
export interface Reply {
  status: number;
  contentType: string | null;
  /** By their names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: unknown;
  isHead?: boolean;
}

/** Replies whose status allows no body. */
const WITHOUT_BODY = new Set([101, 204, 304]);

/** What `/openapi.json` says, to hold replies and examples to. */
export class ApiDocument {
  readonly document: OpenApi;
  /** Of all answers. */
  readonly #headerNames: ReadonlySet<string>;
  readonly #validators = new Map<Schema, ValidateFunction>();

  constructor(document: OpenApi) {
    this.document = document;
    const { responses: shared = {} } = document.components;
    const responses = [...Object.values(shared), ...this.operations.flatMap((one) => Object.values(one.responses))];
    this.#headerNames = new Set(responses.flatMap(({ headers = {} }) => Object.keys(headers)));
  }

  get operations(): Operation[] {
    return Object.entries(this.document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
    );
  }

  operation(method: string, path: string): Operation {
    const found = this.operations.find((one) => one.method === method.toUpperCase() && one.path === path);
    if (!found) throw new Error(`${method} ${path} is not documented`);
    return found;
  }

  /** What a reply has that the document does not; undefined when it is as the document says. */
  faultOf({ method, path, responses }: Operation, reply: Reply): string | undefined {
    const { status, contentType, body, isHead } = reply;
    const place = `${status} of ${method} ${path}`;
    // What any request may meet stands under `default`, whose schema names the codes.
    const response = this.#resolve(responses[String(status)] ?? (status < 500 ? responses.default : undefined));
    if (!response) return `${place} is not documented`;
    const headerFault = this.#headerFault(response, reply);
    if (headerFault) return `${place}: ${headerFault}`;
    if (isHead || WITHOUT_BODY.has(status)) return body === '' ? undefined : `${place} has a body`;
    if (!response.content) return body === '' ? undefined : `${place} is documented without a body`;
    const media = mediaTypeOf(response.content, contentType);
    if (!media) return `${contentType} is not documented for ${place}`;
    // Bytes of any type, as they were sent to us: that they look like JSON makes them none.
    if (media === response.content['*/*']) return undefined;
    const values = contentType?.startsWith('application/x-ndjson') ? linesOf(body) : [body];
    for (const value of values) {
      const faults = this.schemaFaults(media.schema ?? {}, value);
      if (faults) return `${place} is not as its schema: ${faults}`;
    }
    return undefined;
  }

  /** How a value breaks a schema of this document; undefined when it does not. */
  schemaFaults(schema: Schema, value: unknown): string | undefined {
    let validate = this.#validators.get(schema);
    if (!validate) {
      const ajv = new Ajv2020({ strict: false, validateFormats: false });
      validate = ajv.compile({ ...schema, components: this.document.components });
      this.#validators.set(schema, validate);
    }
    return validate(value) ? undefined : JSON.stringify(validate.errors?.slice(0, 3));
  }

  /** A documented header is there if it must be, and as its schema; one that is documented elsewhere is documented here too. */
  #headerFault({ headers = {} }: ResponseObject, reply: Reply): string | undefined {
    for (const [name, { required, schema }] of Object.entries(headers)) {
      const value = reply.headers[name.toLowerCase()];
      if (value === undefined && required) return `there is no ${name}`;
      const faults = value === undefined ? undefined : this.schemaFaults(schema, value);
      if (faults) return `${name} is not as its schema: ${faults}`;
    }
    const here = new Set(Object.keys(headers));
    const stray = [...this.#headerNames].find(
      (name) => !here.has(name) && reply.headers[name.toLowerCase()] !== undefined,
    );
    return stray && `${stray} is not documented`;
  }

  #resolve(response: ResponseObject | undefined): ResponseObject | undefined {
    const name = response?.$ref?.replace('#/components/responses/', '');
    return name === undefined ? response : this.document.components.responses?.[name];
  }
}

function mediaTypeOf(content: Record<string, MediaType>, contentType: string | null): MediaType | undefined {
  const type = String(contentType).split(';')[0]?.trim() ?? '';
  return content[type] ?? content[`${type.split('/')[0]}/*`] ?? content['*/*'];
}

function linesOf(body: unknown): unknown[] {
  return String(body)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

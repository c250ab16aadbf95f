import type { TraceContext } from './trace-context.ts';

type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

export interface SpanStart {
  /** Few and bounded: no ids. */
  name: string;
  kind: 'server' | 'client' | 'consumer' | 'internal';
  /** Without it a trace begins. */
  parent?: TraceContext | undefined;
  /** Unix milliseconds, with a fraction. */
  startMs: number;
  attributes?: SpanAttributes;
}

export interface SpanEnd {
  /** Unix milliseconds, with a fraction. */
  endMs: number;
  /** In place of the first one, for what is known only now. */
  name?: string;
  attributes?: SpanAttributes;
  /** Why what the span stands for failed, in few words; of no input. */
  error?: string | undefined;
}

export interface Span {
  /** For what happens within it, here or elsewhere. */
  readonly context: TraceContext;
  end(end: SpanEnd): void;
}

/** Records spans. Where tracing is off there is none, and nobody pays for it. */
export interface Tracer {
  start(span: SpanStart): Span;
  /** Sends what is left, as far as it is taken soon. Never rejects. */
  close(): Promise<void>;
}

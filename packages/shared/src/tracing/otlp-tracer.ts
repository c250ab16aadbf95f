import {
  createTraceState,
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { TraceContext } from '../trace-context.ts';
import type { Span, Tracer } from '../tracer.ts';

export interface OtlpTracerOptions {
  /** The collector's base URL, without a slash at its end. */
  endpoint: string;
  /** `onqueue-api`, `onqueue-worker`. `OTEL_SERVICE_NAME` goes before it. */
  service: string;
  version: string;
  /** Of processes of the same service, each another. */
  instance: string;
  /** What OpenTelemetry has to complain of, at most once a minute: mostly that the collector does not answer. */
  onTrouble: (message: string) => void;
}

/**
 * Spans in batches to an OpenTelemetry collector. What cannot be sent is given up: the queue holds 2,048 spans, and whatever
 * the collector does, requests and jobs wait for nothing here. Sampling is what `OTEL_TRACES_SAMPLER` says; unless it is set, the
 * caller decides, and where a trace begins here it is recorded.
 */
export function createOtlpTracer({ endpoint, service, version, instance, onTrouble }: OtlpTracerOptions): Tracer {
  diag.setLogger(troubleLogger(onTrouble), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const resource = defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': service,
        'service.version': version,
        'service.instance.id': instance,
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }));
  const exporter = new OTLPTraceExporter({ url: `${endpoint}/v1/traces` });
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporter)] });
  const tracer = provider.getTracer('onqueue', version);
  return {
    start({ name, kind, parent, startMs, attributes }) {
      const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContextOf(parent));
      const span = tracer.startSpan(
        name,
        { kind: KINDS[kind], startTime: hrTime(startMs), attributes: { ...attributes } },
        context,
      );
      return {
        context: traceContextOfSpan(span.spanContext()),
        end({ endMs, name: lastName, attributes: more, error }) {
          if (lastName !== undefined) span.updateName(lastName);
          for (const [key, value] of Object.entries(more ?? {})) {
            if (value !== undefined) span.setAttribute(key, value);
          }
          if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
          span.end(hrTime(endMs));
        },
      } satisfies Span;
    },
    async close() {
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS);
      });
      await Promise.race([provider.shutdown().catch((error: Error) => onTrouble(error.message)), deadline]);
      clearTimeout(timer);
    },
  };
}

/** A collector that is away must not hold up the end of a process. */
const CLOSE_MS = 2000;
const TELL_AGAIN_MS = 60_000;

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

/** A number that is earlier than the start of the process would be taken for one that counts from there. */
function hrTime(unixMs: number): [number, number] {
  const seconds = Math.floor(unixMs / 1000);
  return [seconds, Math.round((unixMs - seconds * 1000) * 1e6)];
}

function spanContextOf({ traceparent, tracestate }: TraceContext): SpanContext {
  const [, traceId = '', spanId = '', flags = ''] = traceparent.split('-');
  return {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }),
  };
}

function traceContextOfSpan({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  const flags = (traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, '0');
  const state = traceState?.serialize();
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, ...(state ? { tracestate: state } : {}) };
}

function troubleLogger(onTrouble: (message: string) => void) {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tell = (message: string) => {
    if (performance.now() - toldAtMs < TELL_AGAIN_MS) return;
    toldAtMs = performance.now();
    onTrouble(messageOf(message));
  };
  const ignore = () => {};
  return { error: tell, warn: tell, info: ignore, debug: ignore, verbose: ignore };
}

/** OpenTelemetry's error handler writes an error as JSON with its stack. */
function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : text;
  } catch {
    return text;
  }
}

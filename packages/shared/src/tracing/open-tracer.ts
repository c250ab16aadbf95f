import type { Tracer } from '../tracer.ts';
import type { OtlpTracerOptions } from './otlp-tracer.ts';

export interface OpenTracerOptions extends Omit<OtlpTracerOptions, 'endpoint'> {
  /** Undefined: tracing is off. */
  endpoint: string | undefined;
}

/** Undefined when tracing is off; then OpenTelemetry is not even loaded, which takes some 15 MB and, on a slow machine, half a second. */
export async function openTracer({ endpoint, ...options }: OpenTracerOptions): Promise<Tracer | undefined> {
  if (endpoint === undefined) return undefined;
  const { createOtlpTracer } = await import('./otlp-tracer.ts');
  return createOtlpTracer({ endpoint, ...options });
}

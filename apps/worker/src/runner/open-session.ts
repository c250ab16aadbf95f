import type { ExecutionProvider } from '@onqueue/shared';
import type { ExecutionPlan } from './execution-plan.ts';
import type { EngineSession, InferenceEngine, Placement } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { installStep } from './provider-install.ts';

type OpenOptions = {
  engine: Pick<InferenceEngine, 'load'>;
  /** Absolute, of the artifact. */
  path: string;
  intraOpNumThreads: number;
  execution: ExecutionPlan;
};

type OpenedSession = {
  session: EngineSession;
  /** What computed the runs so far; may be asked once. */
  whatComputed(): Promise<WhatComputed>;
};

type WhatComputed = { execution_provider: ExecutionProvider; placement?: Placement; fallback_reason?: string };

/**
 * Opens a graph for the execution providers that it is to have.
 *
 * Messages of an engine do not say whether the graph or the provider is at fault, and change with its version. So one
 * that cannot be opened is opened for the cpu: when that fails too it is the graph, and that message is the one thrown.
 * @throws ModelLoadError naming what to install, when the provider is at fault and there is no fallback.
 */
export async function openSession({ engine, path, intraOpNumThreads, execution }: OpenOptions): Promise<OpenedSession> {
  const { providers, deviceId, fallback } = execution;
  try {
    const session = await engine.load(path, { intraOpNumThreads, executionProviders: providers, deviceId });
    return { session, whatComputed: async () => computedBy(providers, await session.placement()) };
  } catch (cause) {
    if (providers.every((name) => name === 'cpu')) throw cause;
    const session = await engine.load(path, { intraOpNumThreads });
    const reason = unavailable(providers, cause as Error);
    if (fallback === 'cpu') {
      return { session, whatComputed: async () => ({ execution_provider: 'cpu', fallback_reason: reason }) };
    }
    await session.release();
    throw new ModelLoadError(`${reason} ONQUEUE_EXECUTION_PROVIDER_FALLBACK=cpu serves the model without.`, { cause });
  }
}

function computedBy(providers: readonly ExecutionProvider[], placement: Placement | undefined): WhatComputed {
  if (!placement) return { execution_provider: 'cpu' };
  return { execution_provider: providers.find((name) => placement[name]) ?? 'cpu', placement };
}

function unavailable(providers: readonly ExecutionProvider[], { message }: Error): string {
  const missing = providers.filter((name) => name !== 'cpu');
  // Addresses in the engine's sources, line breaks: nothing that helps whoever reads the log.
  const words = message.replace(/^\/\S+:\d+ .*?was false\. /, '').replace(/[.\s]+$/, '');
  const steps = missing.map(installStep).join(' ');
  return `The execution provider${missing.length > 1 ? 's' : ''} ${missing.join(', ')} cannot be used here: ${words}. ${steps} See docs/guides/gpu.md.`;
}

import type { ExecutionProvider, Origin } from '@onqueue/shared';

const derived = new WeakMap<Origin, Map<ExecutionProvider, Origin>>();

/**
 * The origin of what a batch computed that ran on `provider`. That may be another one than the version's: a runner that is started
 * again may find its device gone, and fall back. The same object each time, since its digest is reckoned once per object.
 */
export function originOn(provider: ExecutionProvider | undefined, origin: Origin): Origin {
  if (provider === undefined || provider === origin.execution_provider) return origin;
  const known = derived.get(origin) ?? new Map<ExecutionProvider, Origin>();
  derived.set(origin, known);
  const there = known.get(provider) ?? { ...origin, execution_provider: provider };
  known.set(provider, there);
  return there;
}

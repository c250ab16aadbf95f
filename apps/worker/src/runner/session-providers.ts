import type { ExecutionProvider } from '@onqueue/shared';

type PinnedProvider = { name: 'cuda' | 'tensorrt' | 'dml'; deviceId: number };

/** The providers whose binding takes a device; with `deviceId`, that of webgpu is a TypeError, that of coreml is ignored. */
const PINNABLE: ReadonlySet<ExecutionProvider> = new Set(['cuda', 'tensorrt', 'dml']);

/**
 * Execution providers as a session is asked for them, each that can be on the device.
 * @throws Error when one cannot be told its device: it would compute somewhere else than somebody said.
 */
export function sessionProviders(
  names: readonly ExecutionProvider[],
  deviceId: number | undefined,
): (ExecutionProvider | PinnedProvider)[] {
  return names.map((name) => {
    if (deviceId === undefined || name === 'cpu') return name;
    if (!PINNABLE.has(name)) throw new Error(`Device ${deviceId} cannot be chosen for it.`);
    return { name: name as PinnedProvider['name'], deviceId };
  });
}

export function isCpuAlone(names: readonly ExecutionProvider[]): boolean {
  return names.every((name) => name === 'cpu');
}

import { readFileSync } from 'node:fs';

export interface MemoryWatch {
  stop(): void;
}

export interface MemoryWatchOptions {
  pid: number;
  /** Of memory that is the process's own: pages of files that it has mapped can be had back at any time. */
  limitBytes: number;
  /** A process that fills memory as fast as it can goes beyond the limit by what it fills in this time. */
  intervalMs?: number;
  /** Called once, with the bytes that it had. */
  onExceeded: (bytes: number) => void;
  readOwnBytes?: (pid: number) => number | undefined;
}

/**
 * Looks again and again how much memory another process has taken: inside the engine it can neither look itself nor be
 * interrupted. Only Linux says so in a file; elsewhere nothing is watched.
 */
export function startMemoryWatch(options: MemoryWatchOptions): MemoryWatch {
  const { pid, limitBytes, intervalMs = 50, onExceeded, readOwnBytes = ownBytes } = options;
  const timer = setInterval(() => {
    const bytes = readOwnBytes(pid);
    if (bytes !== undefined && bytes <= limitBytes) return;
    clearInterval(timer);
    if (bytes !== undefined) onExceeded(bytes);
  }, intervalMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

/** undefined: it is gone, or this is not Linux. */
function ownBytes(pid: number): number | undefined {
  try {
    // Made by the kernel in microseconds; a promise for it would wait behind files that are slow.
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    // A process that has ended and was not waited for yet has none of these lines.
    const kilobytes = [...status.matchAll(/^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB$/gm)];
    return kilobytes.reduce((sum, [, text]) => sum + Number(text) * 1024, 0);
  } catch {
    return undefined;
  }
}

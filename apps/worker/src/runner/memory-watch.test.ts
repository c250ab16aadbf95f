import { afterEach, expect, test } from '@jest/globals';
import { type MemoryWatch, startMemoryWatch } from './memory-watch.ts';

let watch: MemoryWatch | undefined;
afterEach(() => watch?.stop());

test('tells once when a process has more memory of its own than it may', async () => {
  const readings = [10, 100, 101, 102];
  const told: number[] = [];
  await new Promise<void>((resolve) => {
    watch = startMemoryWatch({
      pid: process.pid,
      limitBytes: 100,
      intervalMs: 1,
      readOwnBytes: () => readings.shift(),
      onExceeded: (bytes) => {
        told.push(bytes);
        resolve();
      },
    });
  });
  expect([told, readings]).toEqual([[101], [102]]);
});

// Elsewhere nothing says how much another process has.
const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('counts what a process has, without the files that it has mapped', async () => {
  const bytes = await new Promise<number>((resolve) => {
    watch = startMemoryWatch({ pid: process.pid, limitBytes: 1, intervalMs: 1, onExceeded: resolve });
  });
  expect(bytes).toBeGreaterThan(10e6);
  expect(bytes).toBeLessThan(process.memoryUsage.rss());
});

import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MS = 5;

/**
 * Asks again until the answer is truthy: for what no event tells, such as a counter of another process. The outer
 * deadline is generous; a test that passes never meets it.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 30_000,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain until ${what}`);
    // Asking without a pause would take the processor from whoever is waited for.
    await delay(PAUSE_MS);
  }
}

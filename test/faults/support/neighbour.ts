import { setTimeout as delay } from 'node:timers/promises';
import type { FaultScene } from './fault-scene.ts';
import { quickOrder } from './load.ts';

const CLIENTS = 2;
/** Between two jobs of a client: a neighbour, not a load. */
const PAUSE_MS = 25;

export interface Neighbour {
  jobs: number;
  p99Ms: number;
}

/** Does the work while a few clients have the healthy model score rows; whether these are right is for the verdict to say. */
export async function besideHealthyModel(scene: FaultScene, work: () => Promise<void>): Promise<Neighbour> {
  const timesMs: number[] = [];
  let isOver = false;
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let number = client; !isOver; number += CLIENTS) {
      const startedAt = performance.now();
      const id = await scene.client.submit(quickOrder(number));
      if (id === undefined) throw new Error('The healthy model was refused.');
      await scene.client.end(id);
      timesMs.push(performance.now() - startedAt);
      await delay(PAUSE_MS);
    }
  });
  try {
    await work();
  } finally {
    isOver = true;
    await Promise.all(clients);
  }
  const p99Ms = timesMs.toSorted((a, b) => a - b)[Math.ceil(timesMs.length * 0.99) - 1] ?? 0;
  process.stdout.write(`neighbour: ${timesMs.length} jobs, p99 ${p99Ms.toFixed(0)} ms\n`);
  return { jobs: timesMs.length, p99Ms };
}

import type { FaultScene } from './fault-scene.ts';
import { inParallel } from './in-parallel.ts';
import type { Order } from './recording-client.ts';

/** score = steps, after about that many times 0.3-1 ms. */
export function slowOrder(steps: number): Order {
  return { model: 'slow', input: { steps }, score: steps };
}

/** score = number, at once. */
export function quickOrder(number: number): Order {
  return { model: 'linear', input: { x0: number, x1: 0, x2: 0 }, score: number };
}

/** Submits jobs and follows each to its end, so many at a time. */
export async function submitAndFollow(scene: FaultScene, orders: readonly Order[], inFlight: number): Promise<void> {
  await inParallel(orders, inFlight, async (order) => {
    const id = await scene.client.submit(order);
    if (id !== undefined) await scene.client.end(id);
  });
}

import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../support/until.ts';
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

/** A row that kills its runner, each time that it is tried, until its run fails. */
export function crashOrder(): Order {
  return { model: 'crash', input: { divisor: -1 }, score: 0, end: 'failed' };
}

/** Submits jobs and follows each to its end, so many at a time. */
export async function submitAndFollow(scene: FaultScene, orders: readonly Order[], inFlight: number): Promise<void> {
  await inParallel(orders, inFlight, async (order) => {
    const id = await scene.client.submit(order);
    if (id !== undefined) await scene.client.end(id);
  });
}

export type Load = ReturnType<typeof startLoad>;

/** Does the work while a few clients submit one job after the other, whatever comes back. */
export async function underLoad(scene: FaultScene, clientCount: number, work: (load: Load) => Promise<void>) {
  const load = startLoad(scene, clientCount);
  try {
    await work(load);
  } finally {
    await load.stop();
  }
}

function startLoad({ client, random }: FaultScene, clientCount: number) {
  let isStopping = false;
  let acknowledged = 0;
  let unanswered = 0;
  const submitAlways = async () => {
    while (!isStopping) {
      const order = random.next() < 0.3 ? slowOrder(random.between(5, 40)) : quickOrder(random.between(0, 1_000_000));
      if ((await client.submit(order)) === undefined) {
        unanswered += 1;
        await delay(50); // A client that is refused and comes back at once would only measure itself.
      } else {
        acknowledged += 1;
      }
    }
  };
  const clients = Promise.all(Array.from({ length: clientCount }, submitAlways));
  return {
    /** So many more than until now. */
    untilAcknowledged(count: number, deadlineMs = 30_000) {
      const due = acknowledged + count;
      return until(`${count} jobs are acknowledged`, () => acknowledged >= due, deadlineMs);
    },
    untilUnanswered(count = 1) {
      const due = unanswered + count;
      return until(`${count} requests are not acknowledged`, () => unanswered >= due);
    },
    async stop() {
      isStopping = true;
      await clients;
    },
  };
}

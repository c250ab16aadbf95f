import { answerParent } from '../bench-child.ts';
import { JobClient } from '../job-client.ts';
import { percentile } from '../statistics.ts';
import { type PostingOrder, type PostingReport, postingOrder } from './posting-protocol.ts';

/** A closed loop of clients that only post, in a process of its own. */
answerParent((order) => post(postingOrder.parse(order)));

async function post({ baseUrl, bodies, count, connections, timeoutMs }: PostingOrder): Promise<PostingReport> {
  const client = new JobClient({ baseUrl, maxSockets: connections, timeoutMs });
  const latenciesMs: number[] = [];
  let sent = 0;
  const loop = async () => {
    while (sent < count) {
      const body = bodies[sent++ % bodies.length] as string;
      const sentAt = performance.now();
      await client.post(body);
      latenciesMs.push(performance.now() - sentAt);
    }
  };
  const startedAt = performance.now();
  try {
    await Promise.all(Array.from({ length: connections }, loop));
  } finally {
    client.close();
  }
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    perS: count / seconds,
    latencyMs: { p50: percentile(latenciesMs, 50), p99: percentile(latenciesMs, 99) },
  };
}

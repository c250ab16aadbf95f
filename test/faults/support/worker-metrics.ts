import type { ChildService } from '@onqueue/launcher';
import { request } from '../../support/client.ts';

/** What a worker says of a model; 0 for what it has not counted yet. */
export async function workerMetrics(worker: ChildService, model: string) {
  const { body } = await request<string>(`${worker.baseUrl}/metrics`);
  const value = (name: string) =>
    Number(new RegExp(`^${name}\\{model="${model}".*\\} (\\d+)$`, 'm').exec(body)?.[1] ?? 0);
  return {
    batches: value('onqueue_batch_rows_count'),
    pendingRows: value('onqueue_batcher_pending_rows'),
    fenced: value('onqueue_commits_fenced_total'),
    openings: Number(
      new RegExp(`^onqueue_circuit_transitions_total\\{model="${model}",version="1",to="open",.*\\} (\\d+)$`, 'm').exec(
        body,
      )?.[1] ?? 0,
    ),
  };
}

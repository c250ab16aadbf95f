/** What the demo reads of a job. */
export interface DemoJob {
  id: string;
  status: string;
  results: { status: string; output?: Record<string, unknown> }[] | null;
  timings: { total_ms: number } | null;
  provenance: { batch_size: number } | null;
  error: { code: string; detail: string } | null;
}

/** The three calls that a client needs. */
export interface ApiClient {
  example(model: string): Promise<Record<string, unknown>>;
  submit(body: Record<string, unknown>): Promise<DemoJob>;
  /** By long poll, until the job has ended. */
  wait(id: string): Promise<DemoJob>;
}

/** Any answer but a success throws with its text: a demo that goes on regardless shows nothing. */
export function createApiClient(baseUrl: string): ApiClient {
  return {
    example: async (model) =>
      ((await call(`${baseUrl}/models/${model}`)) as { example: Record<string, unknown> }).example,
    submit: async (body) =>
      (await call(`${baseUrl}/jobs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })) as DemoJob,
    async wait(id) {
      for (;;) {
        const job = (await call(`${baseUrl}/jobs/${id}?wait=30`)) as DemoJob;
        if (job.status !== 'queued' && job.status !== 'running') return job;
      }
    },
  };
}

async function call(url: string, init?: RequestInit): Promise<unknown> {
  const response = await fetch(url, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${init?.method ?? 'GET'} ${url} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

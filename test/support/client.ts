/** What tests need of the API, as a client sees it. */

export interface Answer<Body = Record<string, unknown>> {
  status: number;
  headers: Headers;
  body: Body;
  durationMs: number;
}

/** The fields of a job that tests look at. */
export interface JobBody {
  id: string;
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'canceled' | 'expired';
  attempt: number;
  run: number;
  rows: { total: number; succeeded: number; failed: number };
  results:
    | {
        status: string;
        output?: Record<string, unknown>;
        served_by?: string;
        fallback?: Record<string, unknown>;
        error?: { code: string; detail: string };
      }[]
    | null;
  error: { code: string; detail: string; row?: number } | null;
  timings: Record<string, number> | null;
  provenance: Record<string, unknown> | null;
  metadata: Record<string, unknown>;
  urls: { self: string };
  [field: string]: unknown;
}

export async function request<Body = Record<string, unknown>>(url: string, init?: RequestInit): Promise<Answer<Body>> {
  const startedAt = performance.now();
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '') && text !== '';
  const body = isJson ? JSON.parse(text) : text;
  return { status: response.status, headers: response.headers, body, durationMs: performance.now() - startedAt };
}

/** `POST /jobs`. A string is sent as it is. */
export function postJob<Body = JobBody>(
  baseUrl: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<Body>> {
  return request<Body>(`${baseUrl}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Posts a job that must be accepted; its id. */
export async function acceptedJob(baseUrl: string, body: unknown): Promise<string> {
  const answer = await postJob(baseUrl, body);
  if (answer.status !== 202) throw new Error(`expected 202, got ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body.id;
}

/** Waits by long poll until the job has ended. */
export async function endedJob(baseUrl: string, id: string, deadlineMs = 45_000): Promise<JobBody> {
  const until = performance.now() + deadlineMs;
  for (;;) {
    const { status, body } = await request<JobBody>(`${baseUrl}/jobs/${id}?wait=20`);
    if (status !== 200) throw new Error(`GET /jobs/${id}: ${status} ${JSON.stringify(body)}`);
    if (body.status !== 'queued' && body.status !== 'running') return body;
    if (performance.now() > until) throw new Error(`job ${id} is still ${body.status}`);
  }
}

/** Posts a job and waits for its end. */
export async function runJob(baseUrl: string, body: unknown): Promise<JobBody> {
  return endedJob(baseUrl, await acceptedJob(baseUrl, body));
}

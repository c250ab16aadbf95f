import { Agent, type IncomingMessage, request } from 'node:http';
import { type JobView, jobEvent, jobView } from '@onqueue/shared';
import { z } from 'zod';
import { MeasurementError } from './bench.ts';

export interface JobClientOptions {
  baseUrl: string;
  /** Connections that are kept open and used again. */
  maxSockets: number;
  /** For each of the two requests. */
  timeoutMs: number;
}

const accepted = z.object({ id: z.string() });

/** The platform took a request and did not do what it asks. */
export class RefusedError extends MeasurementError {
  readonly status: number;
  readonly hasRetryAfter: boolean;

  constructor(message: string, { status, hasRetryAfter }: { status: number; hasRetryAfter: boolean }) {
    super(message);
    this.status = status;
    this.hasRetryAfter = hasRetryAfter;
  }
}

/** A client of the platform as an application would write it: node:http, connections kept alive, long polls. */
export class JobClient {
  readonly #agent: Agent;
  readonly #options: JobClientOptions;

  constructor(options: JobClientOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.maxSockets, maxFreeSockets: options.maxSockets });
  }

  /** POST /jobs; the body is JSON already, so that making it costs no time that is measured. */
  async post(body: string): Promise<string> {
    const answer = await this.#send('POST', '/jobs', body);
    if (answer.status !== 202)
      throw new RefusedError(`POST /jobs was answered ${answer.status}: ${answer.body}`, answer);
    return accepted.parse(JSON.parse(answer.body)).id;
  }

  /** GET /jobs/:id?wait=, and the text of the answer as soon as the job has ended; parse it with `jobOf`. */
  async result(id: string): Promise<string> {
    const { status, body } = await this.#send('GET', `/jobs/${id}?wait=${Math.ceil(this.#options.timeoutMs / 1000)}`);
    if (status !== 200) throw new MeasurementError(`GET /jobs/${id} was answered ${status}: ${body}`);
    return body;
  }

  /** GET /jobs/:id/events, and the text of the stream once the job has ended; parse it with `endOf`. */
  async events(id: string): Promise<string> {
    const { status, body } = await this.#send('GET', `/jobs/${id}/events`);
    if (status !== 200) throw new MeasurementError(`GET /jobs/${id}/events was answered ${status}: ${body}`);
    return body;
  }

  /** POST /jobs with `Prefer: wait`, and the text of the answer when the job has ended. */
  async run(body: string): Promise<string> {
    const prefer = `wait=${Math.ceil(this.#options.timeoutMs / 1000)}`;
    const answer = await this.#send('POST', '/jobs', body, { prefer });
    if (answer.status !== 200) throw new MeasurementError(`POST /jobs was answered ${answer.status}: ${answer.body}`);
    return answer.body;
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(
    method: string,
    path: string,
    body?: string,
    more: Record<string, string> = {},
  ): Promise<{ status: number; body: string; hasRetryAfter: boolean }> {
    const { baseUrl, timeoutMs } = this.#options;
    const headers =
      body === undefined
        ? more
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...more };
    return new Promise((resolve, reject) => {
      const sent = request(`${baseUrl}${path}`, { method, agent: this.#agent, headers, timeout: timeoutMs });
      sent.once('timeout', () =>
        sent.destroy(new MeasurementError(`${method} ${path}: no answer in ${timeoutMs} ms.`)),
      );
      sent.once('error', reject);
      sent.once('response', (response) => {
        const { statusCode: status = 0, headers } = response;
        const hasRetryAfter = headers['retry-after'] !== undefined;
        readText(response).then((text) => resolve({ status, body: text, hasRetryAfter }), reject);
      });
      sent.end(body);
    });
  }
}

/** The job in an answer of `result`. @throws MeasurementError when it did not succeed. */
export function jobOf(text: string): JobView {
  const job = jobView.parse(JSON.parse(text));
  if (job.status !== 'succeeded') throw new MeasurementError(`Job ${job.id} is ${job.status}: ${job.error?.detail}`);
  return job;
}

/** The job in the last event of a stream. @throws MeasurementError when it did not succeed. */
export function endOf(stream: string): JobView {
  const data = stream.split('\ndata: ').at(-1) ?? '';
  return jobOf(JSON.stringify(jobEvent.parse(JSON.parse(data)).job));
}

async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseWebhookSecret, verifyWebhook } from '@onqueue/shared';
import type { ApiClient, DemoJob } from './api-client.ts';
import { openWebhookInbox } from './webhook-inbox.ts';

export interface Stage {
  client: ApiClient;
  baseUrl: string;
  webhookSecret: string;
  rootDir: string;
  print: (text: string) => void;
}

const DIGIT = 'models/digits/1/samples/seven.png';
const BURST = 500;

/** A fraud score: post, get 202, poll. */
export async function fraudScene({ client, baseUrl, print }: Stage): Promise<void> {
  const body = { model: 'fraud', input: await client.example('fraud') };
  title(print, '1. A fraud score: post a job, get 202, poll');
  print(curlPost(baseUrl, `'${JSON.stringify(body)}'`));
  const accepted = await client.submit(body);
  print(`   202  ${accepted.id}  ${accepted.status}`);
  print(`curl -s '${baseUrl}/jobs/${accepted.id}?wait=10'`);
  showOutput(print, succeeded(await client.wait(accepted.id)));
}

/** A picture, decoded and resized as in training. */
export async function digitScene({ client, baseUrl, rootDir, print }: Stage): Promise<void> {
  title(print, `2. A handwritten digit, sent as a PNG (${DIGIT})`);
  print(
    curlPost(
      baseUrl,
      `"{\\"model\\":\\"digits\\",\\"input\\":{\\"image\\":\\"$(base64 < ${DIGIT} | tr -d '\\n')\\"}}"`,
    ),
  );
  const image = (await readFile(join(rootDir, DIGIT))).toString('base64');
  const accepted = await client.submit({ model: 'digits', input: { image } });
  print(`   202  ${accepted.id}  ${accepted.status}`);
  const job = succeeded(await client.wait(accepted.id));
  const { label, probability } = job.results?.[0]?.output ?? {};
  print(`   ${job.status} in ${ms(job)}: {"label":"${label}","probability":${Number(probability).toFixed(4)}}`);
}

/** Many clients at once: the worker computes their jobs together. */
export async function burstScene({ client, print }: Stage): Promise<void> {
  title(print, `3. A burst of ${BURST} jobs, each one row, posted at the same time`);
  const input = await client.example('fraud');
  const startedAt = performance.now();
  const accepted = await Promise.all(Array.from({ length: BURST }, () => client.submit({ model: 'fraud', input })));
  const jobs = await Promise.all(accepted.map(({ id }) => client.wait(id)));
  const seconds = (performance.now() - startedAt) / 1000;
  const sizes = jobs.map((job) => succeeded(job).provenance?.batch_size ?? 0);
  print(`   all ${BURST} succeeded in ${seconds.toFixed(2)} s; jobs by the size of the batch that computed them:`);
  for (const [from, to] of BUCKETS) {
    const count = sizes.filter((size) => size >= from && size <= to).length;
    const range = from === to ? `${from}` : `${from}-${to}`;
    print(`   ${range.padStart(6)} rows  ${'█'.repeat(Math.round((count / BURST) * 50)).padEnd(50)} ${count} jobs`);
  }
}

const BUCKETS = [
  [1, 1],
  [2, 7],
  [8, 31],
  [32, 64],
] as const;

/** The end of a job, told by a signed webhook, and verified as a receiver should. */
export async function webhookScene({ client, baseUrl, webhookSecret, print }: Stage): Promise<void> {
  title(print, '4. A webhook, received here and its signature verified');
  const inbox = await openWebhookInbox();
  try {
    const body = { model: 'fraud', input: await client.example('fraud'), webhook: inbox.url };
    print(curlPost(baseUrl, `'${JSON.stringify(body)}'`));
    print(
      '   (to repeat: a receiver of yours, and ONQUEUE_WEBHOOK_ALLOW_CIDRS=127.0.0.0/8 ONQUEUE_WEBHOOK_ALLOW_HTTP=true)',
    );
    const accepted = await client.submit(body);
    print(`   202  ${accepted.id}  ${accepted.status}`);
    const { headers, body: payload } = await inbox.received;
    const signed = {
      'webhook-id': String(headers['webhook-id']),
      'webhook-timestamp': String(headers['webhook-timestamp']),
      'webhook-signature': String(headers['webhook-signature']),
    };
    verifyWebhook({
      headers: signed,
      body: payload,
      secrets: [parseWebhookSecret(webhookSecret)],
      nowS: Math.floor(Date.now() / 1000),
    });
    for (const [name, value] of Object.entries(signed)) print(`   ${name}: ${value}`);
    const event = JSON.parse(payload) as { type: string; data: DemoJob };
    print(`   ${event.type}  ${event.data.id}  ${JSON.stringify(event.data.results?.[0]?.output)}`);
    print('   the signature is genuine (Standard Webhooks, HMAC-SHA256)');
  } finally {
    await inbox.close();
  }
}

function title(print: Stage['print'], text: string): void {
  print(`\n${text}`);
}

function curlPost(baseUrl: string, data: string): string {
  return `curl -s ${baseUrl}/jobs -H 'content-type: application/json' -d ${data}`;
}

function succeeded(job: DemoJob): DemoJob {
  if (job.status !== 'succeeded') throw new Error(`Job ${job.id} ended ${job.status}: ${job.error?.detail}`);
  return job;
}

function showOutput(print: Stage['print'], job: DemoJob): void {
  print(`   ${job.status} in ${ms(job)}: ${JSON.stringify(job.results?.[0]?.output)}`);
}

function ms(job: DemoJob): string {
  return `${job.timings?.total_ms.toFixed(1)} ms`;
}

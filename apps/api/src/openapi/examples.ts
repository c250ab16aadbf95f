import type { z } from 'zod';
import type { file, part, upload } from './file-operations.ts';
import type * as replies from './replies.ts';

/** One example of every reply. The compiler holds them to their schemas, a test to what the document says of those. */

const ID = 'job_038g18kw5j000yedna7n93cy7skaf';
const FILE_ID = 'file_6f1ed002ab5595859014ebf0951522d9';
const WORKER = 'worker-1-f70739';
const ARTIFACT = '2b5cb5e393224424402acd0a3817663716c631c2bb602de285221d7f99e3bf6d';
const PREPROCESS = '8d63260f21f8845f782023f5f0a09140325c7180297973028fb5e547c2768e0c';
const DECISION = 'f61d0c1260cb3168e66e7e13eebd893bf8a245b4e7286005367c27ae6f7319f7';
const CONTENT = '4a5cc6d6a2f1d1a2f5b5b2a8a5b3b0a0f2a2d1c0f8d0c5e1b7a9e3d4c6f80712';

const MODEL = 'fraud';
const VERSION = '1';
const METADATA = { order: 'A-7' };
const CREATED_AT = '2026-11-22T03:20:26.012Z';
const STARTED_AT = '2026-11-22T03:20:26.016Z';
const FINISHED_AT = '2026-11-22T03:20:26.023Z';
const EXPIRES_AT = '2026-11-23T03:20:26.023Z';
const REQUEST_ID = 'req_99c42835378647bda56038613b6097dc';

const urls = {
  self: `/jobs/${ID}`,
  result: `/jobs/${ID}/result`,
  events: `/jobs/${ID}/events`,
  cancel: `/jobs/${ID}/cancel`,
  retry: `/jobs/${ID}/retry`,
  runs: `/jobs/${ID}/runs`,
};

const provenance: NonNullable<z.infer<typeof replies.job>['provenance']> = {
  model: MODEL,
  version: VERSION,
  artifact_sha256: ARTIFACT,
  preprocess_sha256: PREPROCESS,
  decision_policy_sha256: DECISION,
  runtime: { name: 'onnxruntime-node', version: '1.30.0' },
  execution_provider: 'cpu',
  batch_size: 1,
  batches: 1,
  worker: WORKER,
  run: 1,
  attempt: 1,
};

const timings: NonNullable<z.infer<typeof replies.job>['timings']> = {
  network_in_ms: 1.345,
  validate_ms: 0.38,
  queue_ms: 3.74,
  batch_wait_ms: 2.906,
  preprocess_ms: 0.035,
  inference_ms: 0.419,
  postprocess_ms: 0.051,
  store_ms: 4.646,
  total_ms: 13.522,
};

const rows = { total: 1, succeeded: 1, failed: 0 };
const results: z.infer<typeof replies.job>['results'] = [
  { status: 'succeeded', output: { score: 0.0412, decision: 'approve' } },
];

export const job: z.infer<typeof replies.job> = {
  id: ID,
  object: 'job',
  status: 'succeeded',
  model: MODEL,
  version: VERSION,
  lane: 'interactive',
  priority: 0,
  service: null,
  run: 1,
  attempt: 1,
  created_at: CREATED_AT,
  scheduled_at: null,
  started_at: STARTED_AT,
  finished_at: FINISHED_AT,
  expires_at: EXPIRES_AT,
  rows,
  results,
  served_by: 'model',
  error: null,
  timings,
  provenance,
  metadata: METADATA,
  request_id: REQUEST_ID,
  urls,
  webhook_status: null,
};

export const queuedJob: z.infer<typeof replies.job> = {
  ...job,
  status: 'queued',
  run: 2,
  attempt: 0,
  started_at: null,
  finished_at: null,
  expires_at: null,
  rows: { total: 1, succeeded: 0, failed: 0 },
  results: null,
  served_by: null,
  timings: null,
  provenance: null,
};

export const canceledJob: z.infer<typeof replies.job> = {
  ...queuedJob,
  status: 'canceled',
  run: 1,
  finished_at: FINISHED_AT,
  expires_at: EXPIRES_AT,
  error: { code: 'canceled', detail: 'The job was canceled.' },
};

export const acceptedJob: z.infer<typeof replies.acceptedJob> = {
  id: ID,
  object: 'job',
  status: 'queued',
  model: MODEL,
  version: VERSION,
  lane: 'interactive',
  created_at: CREATED_AT,
  rows: { total: 1 },
  metadata: METADATA,
  request_id: REQUEST_ID,
  urls,
};

export const jobPlan: z.infer<typeof replies.jobPlan> = {
  object: 'job_plan',
  model: MODEL,
  version: VERSION,
  lane: 'interactive',
  priority: 0,
  service: null,
  rows: { total: 1 },
  input_bytes: 58,
};

const { results: _, served_by, timings: __, provenance: ___, webhook_status: ____, ...jobSummary } = job;

export const jobList: z.infer<typeof replies.jobList> = {
  object: 'list',
  data: [{ ...jobSummary, rows: { total: 1 } }],
  has_more: true,
  next: ID,
};

export const deletedJob: z.infer<typeof replies.deletedJob> = {
  id: ID,
  object: 'job',
  deleted: true,
  deleted_at: EXPIRES_AT,
};

export const result: z.infer<typeof replies.result> = {
  object: 'job.result',
  id: ID,
  model: MODEL,
  version: VERSION,
  run: 1,
  status: 'succeeded',
  finished_at: FINISHED_AT,
  rows,
  results,
  error: null,
  provenance,
};

export const resultLine = '{"index":0,"status":"succeeded","output":{"score":0.0412,"decision":"approve"}}\n';

export const event: z.infer<typeof replies.event> = {
  id: '1-0',
  type: 'job.queued',
  timestamp: CREATED_AT,
  job_id: ID,
  run: 1,
  status: 'queued',
  job: null,
};

export const eventStream = `id: 1-0\nevent: job.queued\ndata: ${JSON.stringify(event)}\n\n`;

export const retriedJobs: z.infer<typeof replies.retriedJobs> = {
  object: 'list',
  data: [{ id: ID, retried: true, run: 2, code: null }],
  has_more: false,
  next: null,
  stopped_by: null,
};

export const runList: z.infer<typeof replies.runList> = {
  object: 'list',
  data: [
    {
      object: 'run',
      run: 1,
      status: 'succeeded',
      attempt: 1,
      queued_at: CREATED_AT,
      started_at: STARTED_AT,
      finished_at: FINISHED_AT,
      rows,
      results,
      served_by: 'model',
      error: null,
      timings,
      provenance,
    },
  ],
};

export const lane = {
  pause: { object: 'lane', model: MODEL, lane: 'bulk', state: 'paused' },
  resume: { object: 'lane', model: MODEL, lane: 'bulk', state: 'open' },
  drain: { object: 'lane', model: MODEL, lane: 'bulk', state: 'draining' },
} satisfies Record<string, z.infer<typeof replies.laneChange>>;

export const queueList = {
  object: 'list' as const,
  data: [
    {
      object: 'queue' as const,
      model: 'fraud',
      backlog: { jobs: 130, rows: 5200, bytes: 718_000 },
      lanes: [
        { lane: 'interactive' as const, state: 'open' as const, waiting_jobs: 0, oldest_age_s: 0 },
        { lane: 'bulk' as const, state: 'paused' as const, waiting_jobs: 128, oldest_age_s: 312.4 },
      ],
    },
  ],
};

export const purge: z.infer<typeof replies.purge> = {
  object: 'purge',
  model: MODEL,
  lane: 'bulk',
  purged: 12,
  has_more: false,
};

const served = {
  version: VERSION,
  ready: true,
  ready_workers: 1,
  circuit: { state: 'closed', open_workers: 0 },
  artifact_sha256: ARTIFACT,
  golden: 'replayed',
} satisfies z.infer<typeof replies.modelList>['data'][number]['versions'][number];
const modelUrls = { self: `/models/${MODEL}` };

export const modelList: z.infer<typeof replies.modelList> = {
  object: 'list',
  data: [{ name: MODEL, object: 'model', version: VERSION, ready: true, versions: [served], urls: modelUrls }],
};

export const model: z.infer<typeof replies.model> = {
  name: MODEL,
  object: 'model',
  version: VERSION,
  ready: true,
  versions: [{ ...served, calibration: null }],
  urls: modelUrls,
  lanes: { interactive: 'open', bulk: 'open' },
  kind: 'tabular',
  description: 'How likely a card payment is fraud.',
  signature: {
    inputs: [{ name: 'features', dtype: 'float32', shape: [-1, 2] }],
    outputs: [{ name: 'score', dtype: 'float32', shape: [-1, 1] }],
  },
  row_schema: {
    type: 'object',
    properties: { amount: { type: 'number' }, hour: { type: 'number' } },
    required: ['amount', 'hour'],
    additionalProperties: false,
  },
  example: { amount: 129.9, hour: 14 },
  batching: { max_batch_size: 256, max_queue_delay_ms: 0 },
  fallbacks: [],
  postprocess: { type: 'score', output: 'score', field: 'score', activation: 'sigmoid' },
  decision: null,
  metrics: null,
  artifact_sha256: ARTIFACT,
  preprocess_sha256: PREPROCESS,
  decision_policy_sha256: DECISION,
};

const workers = {
  incomplete: 0,
  loading: 0,
  ready: 1,
  failed: 0,
  draining: 0,
  unloaded: 0,
  data: [{ worker: WORKER, state: 'ready' as const, reason: null, since: CREATED_AT }],
};

export const modelVersionState: z.infer<typeof replies.modelVersionState> = {
  object: 'model_version',
  model: MODEL,
  version: VERSION,
  state: 'ready',
  reason: null,
  since: CREATED_AT,
  accepts_jobs: true,
  ready: true,
  wanted: null,
  workers,
  artifact_sha256: ARTIFACT,
  urls: { self: `/models/${MODEL}/versions/${VERSION}`, model: `/models/${MODEL}` },
};

export const modelVersionList: z.infer<typeof replies.modelVersionList> = {
  object: 'list',
  model: MODEL,
  wanted: null,
  data: [modelVersionState],
};

export const liveness: z.infer<typeof replies.liveness> = { status: 'ok' };

export const readiness: z.infer<typeof replies.readiness> = {
  status: 'ready',
  redis: { status: 'ok', durability: 'durable', version: '7.0.15' },
};

export const unreadiness: z.infer<typeof replies.readiness> = {
  status: 'unready',
  redis: { status: 'unavailable', detail: 'Connection is closed.' },
};

export const metrics = '# TYPE onqueue_waiters gauge\nonqueue_waiters 0\n';
export const page = '<!doctype html>\n<html lang="en">…</html>\n';
export const openApi = { openapi: '3.1.1', info: { title: 'onqueue', version: '0.1.0' }, paths: {} };

const fileOf = { id: FILE_ID, content_type: 'application/x-ndjson', created_at: CREATED_AT, expires_at: EXPIRES_AT };

export const storedFile: z.infer<typeof file> = {
  ...fileOf,
  object: 'file',
  status: 'ready',
  bytes: 58,
  sha256: CONTENT,
  urls: { self: `/files/${FILE_ID}`, content: `/files/${FILE_ID}/content` },
};

export const storedPart: z.infer<typeof part> = { number: 1, bytes: 58, sha256: CONTENT };

export const begunUpload: z.infer<typeof upload> = {
  ...fileOf,
  object: 'upload',
  status: 'uploading',
  parts: [],
  max_part_bytes: 67_108_864,
  max_parts: 1000,
  urls: {
    self: `/uploads/${FILE_ID}`,
    complete: `/uploads/${FILE_ID}/complete`,
    parts: `/uploads/${FILE_ID}/parts/{number}`,
    file: `/files/${FILE_ID}`,
  },
};

export const partialUpload: z.infer<typeof upload> = { ...begunUpload, parts: [storedPart] };

/** Binary content is a string in an example. */
export const content = '{"amount":129.9,"hour":14}\n';

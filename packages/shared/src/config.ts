import { z } from 'zod';
import { executionProviderFallback, executionProviders } from './execution-provider.ts';
import { MAX_INDEXED_METADATA_KEYS } from './job-index.ts';
import { parseNetworks } from './network-address.ts';
import { parseMasterKey } from './secret-seal.ts';
import { type PerServiceClass, serviceClass } from './service-class.ts';
import { parseWebhookSecret } from './standard-webhooks.ts';
import { versionPolicyText } from './version-policy.ts';
import { parseSigningKey } from './webhook-key-pair.ts';

/** Who reads a setting. `docs/configuration.md` is generated from this table. */
type Reader = 'api' | 'worker' | 'both';

interface Setting<Schema extends z.ZodType = z.ZodType> {
  env: string;
  reader: Reader;
  schema: Schema;
  /** As a person would write it in the environment; undefined: not set. */
  default: string | undefined;
  /** With the unit, and what happens when the limit is met. */
  about: string;
}

const setting = <Schema extends z.ZodType>(value: Setting<Schema>) => value;

const integer = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) =>
  z.string().regex(/^\d+$/, 'a whole number').transform(Number).pipe(z.number().int().min(minimum).max(maximum));
const flag = z.enum(['true', 'false']).transform((text) => text === 'true');
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);
/** A list of what `parse` reads; it says what is wrong and quotes nothing. */
const keyList = <Key>(parse: (text: string) => Key) =>
  list.transform((items, context): Key[] => {
    try {
      return items.map(parse);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return [];
    }
  });
const webhookSecret = z.string().superRefine((text, context) => {
  try {
    parseWebhookSecret(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
});
const networks = list.superRefine((items, context) => {
  try {
    parseNetworks(items);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
});

/** `realtime=2,standard=1,batch=0.5`: a positive number for each. */
const perServiceClass = list.transform((items, context): PerServiceClass => {
  const entries = items.map((item) => item.split('=').map((part) => part.trim()) as [string, string | undefined]);
  const values = Object.fromEntries(entries.map(([name, number]) => [name, Number(number || Number.NaN)]));
  const isComplete = serviceClass.options.every((name) => Number.isFinite(values[name]) && Number(values[name]) > 0);
  if (!isComplete || entries.length !== serviceClass.options.length) {
    context.addIssue({ code: 'custom', message: `a positive number for each of ${serviceClass.options.join(', ')}` });
  }
  return values as PerServiceClass;
});

const KB = 1024;
const MB = 1024 * KB;
const GB = 1024 * MB;

/** Every setting of the platform, its default and its limits. */
export const SETTINGS = {
  redisUrl: setting({
    env: 'REDIS_URL',
    reader: 'both',
    schema: z.string().regex(/^rediss?:\/\//, 'a URL that starts with redis:// or rediss://'),
    default: 'redis://127.0.0.1:6379',
    about:
      'The Redis that holds queues and jobs. Redis 6.2 or newer with `maxmemory-policy noeviction`; anything else is refused at start.',
  }),
  redisCluster: setting({
    env: 'ONQUEUE_REDIS_CLUSTER',
    reader: 'both',
    schema: flag,
    default: 'false',
    about:
      '`true`: `REDIS_URL` names nodes of a Redis Cluster, separated by commas. Set `ONQUEUE_PARTITIONS` to spread the models over its slots.',
  }),
  keyPrefix: setting({
    env: 'ONQUEUE_KEY_PREFIX',
    reader: 'both',
    schema: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, '1-32 of letters, digits, _ and -'),
    default: 'oq',
    about: 'The start of every key in Redis. Two platforms can share one Redis under two prefixes.',
  }),
  partitions: setting({
    env: 'ONQUEUE_PARTITIONS',
    reader: 'both',
    schema: integer(1, 1024),
    default: '1',
    about:
      'Over how many hash tags the models are spread. Keep 1 on a single Redis. The same number on every process; drain the queues before you change it.',
  }),
  logLevel: setting({
    env: 'ONQUEUE_LOG_LEVEL',
    reader: 'both',
    schema: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    default: 'info',
    about: 'The least severe level that is logged, one JSON line each, to stdout.',
  }),
  otlpEndpoint: setting({
    env: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    reader: 'both',
    schema: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, '')),
    default: undefined,
    about:
      'Turns tracing on: the base URL of an OpenTelemetry collector, `http://localhost:4318` for one beside us. Spans go to `/v1/traces` below it, OTLP over HTTP as JSON. Other `OTEL_*` variables mean what they mean to every OpenTelemetry SDK. Without it nothing of it is loaded.',
  }),
  publicUrl: setting({
    env: 'ONQUEUE_PUBLIC_URL',
    reader: 'both',
    schema: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, '')),
    default: undefined,
    about: 'Where clients reach the API; makes the links in answers and webhooks absolute. Without it they are paths.',
  }),
  webhookSecret: setting({
    env: 'ONQUEUE_WEBHOOK_SECRET',
    reader: 'both',
    schema: webhookSecret,
    default: undefined,
    about:
      'Signs webhooks: `whsec_` and the base64 of 24-64 random bytes. Without it the API refuses jobs that name a webhook, and workers deliver none.',
  }),
  webhookAllowHttp: setting({
    env: 'ONQUEUE_WEBHOOK_ALLOW_HTTP',
    reader: 'both',
    schema: flag,
    default: 'false',
    about: '`true` lets webhooks go to plain `http:` URLs.',
  }),
  host: setting({
    env: 'ONQUEUE_HOST',
    reader: 'api',
    schema: z.string().min(1),
    default: '127.0.0.1',
    about: 'The address that the API listens on. On any other than loopback requests need an API key (`ONQUEUE_AUTH`).',
  }),
  auth: setting({
    env: 'ONQUEUE_AUTH',
    reader: 'api',
    schema: z.enum(['auto', 'on', 'off']),
    default: 'auto',
    about:
      'Whether requests need an API key. `auto`: unless `ONQUEUE_HOST` is loopback. `off` is refused at start where it is not. Behind a proxy on the same machine set `on`. The first start without any key prints one.',
  }),
  keyCacheMs: setting({
    env: 'ONQUEUE_KEY_CACHE_MS',
    reader: 'api',
    schema: integer(0, 60_000),
    default: '5000',
    about:
      'Milliseconds for which an API process believes what it has read of a key or a tenant: so long a key that was revoked through another process may still work. 0: each request reads it.',
  }),
  maxApiKeys: setting({
    env: 'ONQUEUE_MAX_API_KEYS',
    reader: 'api',
    schema: integer(1, 10_000),
    default: '1000',
    about:
      'API keys of all tenants. One more is answered 409, unless some are revoked or have expired: these are forgotten then.',
  }),
  maxTenants: setting({
    env: 'ONQUEUE_MAX_TENANTS',
    reader: 'api',
    schema: integer(1, 10_000),
    default: '1000',
    about: 'Tenants that there may be. One more is answered 409.',
  }),
  keyOverlapS: setting({
    env: 'ONQUEUE_KEY_OVERLAP_S',
    reader: 'api',
    schema: integer(0, 2_592_000),
    default: '86400',
    about:
      'Seconds for which the secret of an API key goes on beside the one that a rotation makes, unless the rotation says otherwise. At most five are valid at once.',
  }),
  port: setting({
    env: 'ONQUEUE_PORT',
    reader: 'api',
    schema: integer(0, 65_535),
    default: '8080',
    about: 'The port that the API listens on. 0 takes any free one.',
  }),
  maxBodyBytes: setting({
    env: 'ONQUEUE_MAX_BODY_BYTES',
    reader: 'api',
    schema: integer(1 * KB, 512 * MB),
    default: String(16 * MB),
    about: 'Bytes of a request body. A larger one is answered 413 without being read to its end.',
  }),
  maxJsonDepth: setting({
    env: 'ONQUEUE_MAX_JSON_DEPTH',
    reader: 'api',
    schema: integer(2, 1000),
    default: '32',
    about: 'How deep JSON may nest. Deeper is answered 400 before it is parsed.',
  }),
  maxJsonNodes: setting({
    env: 'ONQUEUE_MAX_JSON_NODES',
    reader: 'api',
    schema: integer(10),
    default: '500000',
    about: 'How many values a body may hold. More is answered 400 before it is parsed.',
  }),
  maxJsonKeys: setting({
    env: 'ONQUEUE_MAX_JSON_KEYS',
    reader: 'api',
    schema: integer(10),
    default: '100000',
    about:
      'How many keys the objects of a body may have, all together. More is answered 400 before it is parsed: parsing keys costs ten times what numbers cost, and holds up every other request meanwhile.',
  }),
  maxRowsPerJob: setting({
    env: 'ONQUEUE_MAX_ROWS_PER_JOB',
    reader: 'api',
    schema: integer(1, 100_000),
    default: '1000',
    about: 'Rows in one job. More is answered 400.',
  }),
  backlogMaxJobs: setting({
    env: 'ONQUEUE_BACKLOG_MAX_JOBS',
    reader: 'api',
    schema: integer(1),
    default: '100000',
    about:
      'Jobs of one model that have been accepted and have not ended. At the cap new jobs are answered 429 with `Retry-After`.',
  }),
  backlogMaxRows: setting({
    env: 'ONQUEUE_BACKLOG_MAX_ROWS',
    reader: 'api',
    schema: integer(1),
    default: '1000000',
    about: 'The same, in rows.',
  }),
  maxQueueWaitS: setting({
    env: 'ONQUEUE_MAX_QUEUE_WAIT_S',
    reader: 'api',
    schema: z
      .string()
      .regex(/^\d+(\.\d+)?$/, 'a number')
      .transform(Number)
      .pipe(z.number().min(0.05).max(604_800)),
    default: '3600',
    about:
      'Seconds that what waits for a model may take to drain, at the rate that was measured while its workers had more to do than they could take up; `max_queue_wait_s` in a manifest goes before it. Beyond it new jobs are answered 429 with `Retry-After`. Nothing is refused for it while nothing was measured.',
  }),
  backlogMaxBytes: setting({
    env: 'ONQUEUE_BACKLOG_MAX_BYTES',
    reader: 'api',
    schema: integer(1),
    default: String(256 * MB),
    about: 'The same, in bytes of their inputs as JSON.',
  }),
  memoryLimitPercent: setting({
    env: 'ONQUEUE_MEMORY_LIMIT_PERCENT',
    reader: 'api',
    schema: integer(1, 100),
    default: '80',
    about:
      "Percent of Redis' `maxmemory` that new jobs may fill; beyond it they are answered 503, so that accepted ones can end.",
  }),
  maxWaitS: setting({
    env: 'ONQUEUE_MAX_WAIT_S',
    reader: 'api',
    schema: integer(1, 300),
    default: '60',
    about: 'Seconds that `?wait=` may ask for. A longer wait is cut to this.',
  }),
  maxWaiters: setting({
    env: 'ONQUEUE_MAX_WAITERS',
    reader: 'api',
    schema: integer(1),
    default: '10000',
    about: 'Long polls that one API process holds open. One more is answered 503 with `Retry-After`.',
  }),
  maxEventReaders: setting({
    env: 'ONQUEUE_MAX_EVENT_READERS',
    reader: 'api',
    schema: integer(1),
    default: '10000',
    about:
      'Streams of `GET /jobs/:id/events` that one API process holds open, SSE and WebSocket together. One more is answered 503 with `Retry-After`.',
  }),
  eventsHeartbeatS: setting({
    env: 'ONQUEUE_EVENTS_HEARTBEAT_S',
    reader: 'api',
    schema: integer(1, 3600),
    default: '15',
    about:
      'Seconds between two heartbeats of a stream of events. A reader that has not taken what was sent before the last one is dropped.',
  }),
  eventsMaxBufferBytes: setting({
    env: 'ONQUEUE_EVENTS_MAX_BUFFER_BYTES',
    reader: 'api',
    schema: integer(1024),
    default: String(1 * MB),
    about: 'Bytes that may wait for a reader of events when there is more to send. Beyond it the reader is dropped.',
  }),
  eventsPollMs: setting({
    env: 'ONQUEUE_EVENTS_POLL_MS',
    reader: 'api',
    schema: integer(50, 60_000),
    default: '1000',
    about:
      'Milliseconds after which a stream of events tells at the latest that its job has started. Ends are told at once.',
  }),
  indexedMetadata: setting({
    env: 'ONQUEUE_INDEXED_METADATA',
    reader: 'api',
    schema: list.pipe(z.array(z.string().max(40)).max(MAX_INDEXED_METADATA_KEYS)),
    default: '',
    about:
      'The metadata keys that `GET /jobs?metadata[key]=value` finds jobs by, separated by commas, 10 at most. Each costs some 150 bytes of Redis a job that has it. Jobs that were posted before a key was named here are not found by it.',
  }),
  listMaxLooks: setting({
    env: 'ONQUEUE_LIST_MAX_LOOKS',
    reader: 'api',
    schema: integer(100, 1_000_000),
    default: '2000',
    about:
      'Jobs that one `GET /jobs` looks at. When the filters let too few through, the page is given out as it is, with `next` to go on.',
  }),
  maxJobsPerCall: setting({
    env: 'ONQUEUE_MAX_JOBS_PER_CALL',
    reader: 'api',
    schema: integer(1, 10_000),
    default: '100',
    about: 'Jobs that one `POST /jobs/retry` or one purge changes. There is `has_more` to go on with.',
  }),
  maxAuditLines: setting({
    env: 'ONQUEUE_MAX_AUDIT_LINES',
    reader: 'both',
    schema: integer(1),
    default: '100000',
    about:
      'Lines of the audit log (who did what to keys, tenants, endpoints, lanes and jobs) that are kept per chain, of which each partition has one and the platform another; the oldest go first.',
  }),
  redisTimeoutMs: setting({
    env: 'ONQUEUE_REDIS_TIMEOUT_MS',
    reader: 'api',
    schema: integer(50, 10_000),
    default: '750',
    about: 'Milliseconds that the API waits for Redis before it answers 503.',
  }),
  apiDrainTimeoutMs: setting({
    env: 'ONQUEUE_API_DRAIN_TIMEOUT_MS',
    reader: 'api',
    schema: integer(0, 600_000),
    default: '10000',
    about: 'Milliseconds that requests in flight get after SIGTERM. Long polls are answered at once.',
  }),
  workerHost: setting({
    env: 'ONQUEUE_WORKER_HOST',
    reader: 'worker',
    schema: z.string().min(1),
    default: '127.0.0.1',
    about: "The address of the worker's own listener (`/livez`, `/readyz`, `/metrics`).",
  }),
  workerPort: setting({
    env: 'ONQUEUE_WORKER_PORT',
    reader: 'worker',
    schema: integer(0, 65_535),
    default: '8081',
    about:
      "The port of the worker's own listener. 0 takes any free one, and so does `npm start` where this is not set: it may run several workers.",
  }),
  modelsDir: setting({
    env: 'ONQUEUE_MODELS_DIR',
    reader: 'worker',
    schema: z.string().min(1),
    default: 'models',
    about:
      'The model repository: a folder with `<name>/<version>/model.json`, or `s3://bucket/prefix` with the same below it (needs the package `@aws-sdk/client-s3`; credentials come from where AWS tools look for them).',
  }),
  modelsPollMs: setting({
    env: 'ONQUEUE_MODELS_POLL_MS',
    reader: 'worker',
    schema: integer(0, 3_600_000),
    default: '2000',
    about:
      'Milliseconds between two looks at the model repository. A version is taken up when two looks in a row have found it whole and unchanged. 0: it is read once, at start.',
  }),
  modelsSettleMs: setting({
    env: 'ONQUEUE_MODELS_SETTLE_MS',
    reader: 'worker',
    schema: integer(0, 3_600_000),
    default: '10000',
    about:
      'Milliseconds without a change after which a version that is not whole is reported as incomplete; until then it is taken for one that is being copied.',
  }),
  versionPolicy: setting({
    env: 'ONQUEUE_VERSION_POLICY',
    reader: 'worker',
    schema: versionPolicyText,
    default: 'all',
    about:
      'Which versions of a model are served where it has no `policy.json`: `all`, `latest` or `latest:N`, the newest ones that can be loaded.',
  }),
  versionDrainS: setting({
    env: 'ONQUEUE_VERSION_DRAIN_S',
    reader: 'worker',
    schema: integer(0, 86_400),
    default: '300',
    about:
      'Seconds that a version which was removed or unloaded is kept at most for the jobs that were accepted for it. Those that come later fail with `version_gone`.',
  }),
  modelMemoryBudgetBytes: setting({
    env: 'ONQUEUE_MODEL_MEMORY_BUDGET_BYTES',
    reader: 'worker',
    schema: integer(0),
    default: '0',
    about:
      "Resident bytes that this worker's runners may have together. Beyond it versions that are `on_demand` are unloaded, the least recently used first; a version that does not fit then is not loaded, and says so. 0: no limit.",
  }),
  coldStartTimeoutMs: setting({
    env: 'ONQUEUE_COLD_START_TIMEOUT_MS',
    reader: 'worker',
    schema: integer(100, 3_600_000),
    default: '60000',
    about:
      'Milliseconds that a job waits in the hands of a worker for an `on_demand` version to be loaded. Then it goes back to the queue, up to `ONQUEUE_UNAVAILABLE_WAIT_S`.',
  }),
  modelFetchTimeoutMs: setting({
    env: 'ONQUEUE_MODEL_FETCH_TIMEOUT_MS',
    reader: 'worker',
    schema: integer(100, 3_600_000),
    default: '600000',
    about:
      'Milliseconds for fetching a version from an object store. Then it is reported as incomplete, and fetched again at the next look.',
  }),
  models: setting({
    env: 'ONQUEUE_MODELS',
    reader: 'worker',
    schema: list,
    default: '',
    about: 'The models that this worker serves, by name, separated by commas. Empty: all in the repository.',
  }),
  instances: setting({
    env: 'ONQUEUE_INSTANCES',
    reader: 'worker',
    schema: integer(1, 64),
    default: '1',
    about: 'Runner processes per model version. Instances × threads over all models should not exceed the cores.',
  }),
  intraOpThreads: setting({
    env: 'ONQUEUE_INTRA_OP_THREADS',
    reader: 'worker',
    schema: integer(1, 256),
    default: '1',
    about: 'Threads that ONNX Runtime uses inside one run.',
  }),
  executionProviders: setting({
    env: 'ONQUEUE_EXECUTION_PROVIDERS',
    reader: 'worker',
    schema: list.pipe(executionProviders),
    default: 'cpu',
    about:
      'What computes the models, separated by commas, in the order in which each operator is offered to them: `cpu`, `cuda`, `webgpu`, `tensorrt`, `coreml`, `dml`. `execution_providers` in a manifest goes before it. A version whose providers cannot be used on this machine is not served, and the log names the step that is missing.',
  }),
  executionProviderFallback: setting({
    env: 'ONQUEUE_EXECUTION_PROVIDER_FALLBACK',
    reader: 'worker',
    schema: executionProviderFallback,
    default: 'none',
    about:
      '`cpu`: a version whose execution providers cannot be used is served by the cpu instead, with a warning. Its results say so, and `onqueue_execution_provider_runners` counts it.',
  }),
  gpuDevices: setting({
    env: 'ONQUEUE_GPU_DEVICES',
    reader: 'worker',
    schema: list.pipe(z.array(integer(0, 1023)).max(64)),
    default: '',
    about:
      'Numbers of the devices that runners are spread over, separated by commas: the first instance of a version has the first, the next the second, and round again. For `cuda`, `tensorrt` and `dml`; `webgpu` and `coreml` let none be chosen, and are refused with it. Empty: what the provider chooses.',
  }),
  calibrationBudgetMs: setting({
    env: 'ONQUEUE_CALIBRATION_BUDGET_MS',
    reader: 'worker',
    schema: integer(0, 60_000),
    default: '2000',
    about:
      'Milliseconds by which measuring batch sizes may put off that a version serves, once per machine. Sizes that were not reached by then are not used. 0: nothing is measured, batches grow to the `max_batch_size` of the manifest.',
  }),
  cacheDir: setting({
    env: 'ONQUEUE_CACHE_DIR',
    reader: 'worker',
    schema: z.string().min(1),
    default: undefined,
    about:
      "The folder that keeps what was measured and what was fetched over a restart; may be deleted while no worker runs. Without it: `onqueue` in the user's cache folder (`XDG_CACHE_HOME`, `~/.cache`).",
  }),
  attempts: setting({
    env: 'ONQUEUE_ATTEMPTS',
    reader: 'both',
    schema: integer(1, 20),
    default: '3',
    about:
      'How often a job is tried when it fails for a reason that may pass (a runner that died, a model that is loading). Then it fails.',
  }),
  retryDelayMs: setting({
    env: 'ONQUEUE_RETRY_DELAY_MS',
    reader: 'both',
    schema: integer(1, 3_600_000),
    default: '500',
    about: 'Milliseconds before the second attempt, less up to half of them by chance; doubled for each one after it.',
  }),
  retryBudgetPercent: setting({
    env: 'ONQUEUE_RETRY_BUDGET_PERCENT',
    reader: 'worker',
    schema: integer(0, 1000),
    default: '20',
    about:
      'Attempts of a model that a worker may try again in 10 s, as a percentage of the first attempts in that time. Beyond it what would have been tried again fails at once, so that a failing model is not asked for more than before.',
  }),
  retryBudgetFloor: setting({
    env: 'ONQUEUE_RETRY_BUDGET_FLOOR',
    reader: 'worker',
    schema: integer(0, 1_000_000),
    default: '20',
    about: 'Attempts of a model that a worker may try again in 10 s beyond that percentage.',
  }),
  progressIntervalMs: setting({
    env: 'ONQUEUE_PROGRESS_INTERVAL_MS',
    reader: 'worker',
    schema: integer(100, 3_600_000),
    default: '2000',
    about:
      'Milliseconds between two `job.progress` of a job, and before the first one: a job that takes no longer tells none.',
  }),
  batchTimeoutMs: setting({
    env: 'ONQUEUE_BATCH_TIMEOUT_MS',
    reader: 'worker',
    schema: integer(10, 3_600_000),
    default: '30000',
    about:
      'Milliseconds that a batch may take in its runner. Then the runner is killed and the batch is split to find the row that hangs.',
  }),
  runnerStartTimeoutMs: setting({
    env: 'ONQUEUE_RUNNER_START_TIMEOUT_MS',
    reader: 'worker',
    schema: integer(100, 3_600_000),
    default: '60000',
    about:
      'Milliseconds that a runner may take to load and warm up its model. Then it is killed and started again, ever more slowly.',
  }),
  runnerDepth: setting({
    env: 'ONQUEUE_RUNNER_DEPTH',
    reader: 'worker',
    schema: integer(1, 2),
    default: '2',
    about:
      'Batches that a runner holds. 2: a full batch that is ready waits in the runner while another is computed, and is computed right after it. 1: it is sent when the answer to the other has come.',
  }),
  runnerMaxBatches: setting({
    env: 'ONQUEUE_RUNNER_MAX_BATCHES',
    reader: 'worker',
    schema: integer(0),
    default: '0',
    about:
      'Batches after which a runner is recycled: a fresh one is started beside it and takes over when it is ready. 0: never.',
  }),
  runnerMaxMemoryBytes: setting({
    env: 'ONQUEUE_RUNNER_MAX_MEMORY_BYTES',
    reader: 'worker',
    schema: integer(0),
    default: '0',
    about:
      'Bytes of resident memory after a batch beyond which a runner is recycled, at most every ten seconds. Leave room for one runner more. 0: no cap.',
  }),
  runnerMemoryLimitBytes: setting({
    env: 'ONQUEUE_RUNNER_MEMORY_LIMIT_BYTES',
    reader: 'worker',
    schema: integer(0),
    default: undefined,
    about:
      'Bytes of memory of its own with which a runner is killed, while it loads a model or computes a batch; files that it has mapped do not count. Watched on Linux only. Without it: 80 % of what the machine, or the container, has. 0: no limit.',
  }),
  modelMaxBytes: setting({
    env: 'ONQUEUE_MODEL_MAX_BYTES',
    reader: 'worker',
    schema: integer(1),
    default: String(2 * GB),
    about: 'Bytes of a model file. A version with a larger one is not loaded.',
  }),
  modelMaxExternalBytes: setting({
    env: 'ONQUEUE_MODEL_MAX_EXTERNAL_BYTES',
    reader: 'worker',
    schema: integer(0),
    default: String(16 * GB),
    about:
      'Bytes that a model may read beside its file, of all external data together. A version that wants more is not loaded. 0: none may.',
  }),
  modelMaxNodes: setting({
    env: 'ONQUEUE_MODEL_MAX_NODES',
    reader: 'worker',
    schema: integer(1),
    default: '100000',
    about: 'Operators in a model, with those of its subgraphs and functions. A version with more is not loaded.',
  }),
  modelOperatorDomains: setting({
    env: 'ONQUEUE_MODEL_OPERATOR_DOMAINS',
    reader: 'worker',
    schema: list,
    default: 'ai.onnx,ai.onnx.ml,com.microsoft,com.microsoft.nchwc',
    about:
      'The domains that operators of a model may come from, separated by commas. A version that uses another is not loaded; the log names the node. Functions that a model brings along are looked into.',
  }),
  modelOrtFormat: setting({
    env: 'ONQUEUE_MODEL_ORT_FORMAT',
    reader: 'worker',
    schema: flag,
    default: 'true',
    about:
      '`false` refuses models in the ORT format (`.ort`), in which operators and external data cannot be checked before they are loaded.',
  }),
  modelMaxOutputValues: setting({
    env: 'ONQUEUE_MODEL_MAX_OUTPUT_VALUES',
    reader: 'worker',
    schema: integer(1),
    default: '4000000',
    about:
      'Values in the answer to a row; a text counts one for each eight characters. A row with more fails with `output_too_large`. Batches whose answers have more together are cut.',
  }),
  circuitStrikes: setting({
    env: 'ONQUEUE_CIRCUIT_STRIKES',
    reader: 'worker',
    schema: integer(1, 10_000),
    default: '5',
    about:
      'Rows of a version that each, alone in a runner, killed or hung it or found no memory, one after the other without any success between, after which its circuit opens: the worker leaves the version alone for a while, and the API answers its new jobs 503.',
  }),
  circuitErrorPercent: setting({
    env: 'ONQUEUE_CIRCUIT_ERROR_PERCENT',
    reader: 'worker',
    schema: integer(1, 100),
    default: '50',
    about:
      'Percent of the rows of a version of late that have no answer, at which its circuit opens. Rows that are bad themselves do not count.',
  }),
  circuitMinRows: setting({
    env: 'ONQUEUE_CIRCUIT_MIN_ROWS',
    reader: 'worker',
    schema: integer(1, 1_000_000),
    default: '20',
    about: 'Rows that there must be of late before that percentage means anything.',
  }),
  circuitWindowMs: setting({
    env: 'ONQUEUE_CIRCUIT_WINDOW_MS',
    reader: 'worker',
    schema: integer(100, 3_600_000),
    default: '30000',
    about: 'How many milliseconds ago "of late" began.',
  }),
  circuitOpenMs: setting({
    env: 'ONQUEUE_CIRCUIT_OPEN_MS',
    reader: 'worker',
    schema: integer(10, 3_600_000),
    default: '5000',
    about:
      'Milliseconds that a circuit stays open before a golden row is tried, then a few real batches. Twice as long each time that these fail.',
  }),
  circuitMaxOpenMs: setting({
    env: 'ONQUEUE_CIRCUIT_MAX_OPEN_MS',
    reader: 'worker',
    schema: integer(10, 3_600_000),
    default: '30000',
    about: 'The most that this grows to.',
  }),
  unavailableWaitS: setting({
    env: 'ONQUEUE_UNAVAILABLE_WAIT_S',
    reader: 'worker',
    schema: integer(0, 604_800),
    default: '600',
    about:
      'Seconds from queueing that an accepted job waits for a version whose circuit is open or that has no runner. It spends no attempt meanwhile. Then it fails with `model_unavailable`.',
  }),
  retentionS: setting({
    env: 'ONQUEUE_RETENTION_S',
    reader: 'both',
    schema: integer(1),
    default: '86400',
    about: 'Seconds that a job and its results are kept after it has ended. Then it is answered 410.',
  }),
  flightLeaseS: setting({
    env: 'ONQUEUE_FLIGHT_LEASE_S',
    reader: 'api',
    schema: integer(1, 3600),
    default: '60',
    about:
      'Seconds that equal rows of a model with a `cache` wait for the one that is being computed, from when it is started. Then the next one is computed beside it.',
  }),
  blobStore: setting({
    env: 'ONQUEUE_BLOB_STORE',
    reader: 'both',
    schema: z.enum(['redis', 'file', 's3']),
    default: 'redis',
    about:
      'Where large inputs, large results and files are kept. `redis` is shared and as durable as the jobs, and counts towards `maxmemory`; `file` is a folder that all processes share; `s3` a bucket. The same on every process; drain before you change it.',
  }),
  blobDir: setting({
    env: 'ONQUEUE_BLOB_DIR',
    reader: 'both',
    schema: z.string().min(1),
    default: undefined,
    about: 'The folder of `ONQUEUE_BLOB_STORE=file`: one that every API and worker sees at this path.',
  }),
  blobSync: setting({
    env: 'ONQUEUE_BLOB_SYNC',
    reader: 'both',
    schema: flag,
    default: 'true',
    about:
      '`true`: a file is on the disk before its job is accepted or ended (fsync), as with `appendfsync always`. `false`: a power failure may lose the last seconds.',
  }),
  s3Bucket: setting({
    env: 'ONQUEUE_S3_BUCKET',
    reader: 'both',
    schema: z.string().min(1),
    default: undefined,
    about: 'The bucket of `ONQUEUE_BLOB_STORE=s3`. Credentials come from where AWS tools look for them.',
  }),
  s3Prefix: setting({
    env: 'ONQUEUE_S3_PREFIX',
    reader: 'both',
    schema: z.string().regex(/^$|\/$/, 'ends with /'),
    default: 'onqueue/',
    about: 'The start of every key in the bucket.',
  }),
  s3Region: setting({
    env: 'ONQUEUE_S3_REGION',
    reader: 'both',
    schema: z.string().min(1),
    default: 'us-east-1',
    about: 'The region of the bucket.',
  }),
  s3Endpoint: setting({
    env: 'ONQUEUE_S3_ENDPOINT',
    reader: 'both',
    schema: z.url({ protocol: /^https?$/ }),
    default: undefined,
    about: "A server that speaks S3 and is not Amazon's, such as MinIO.",
  }),
  s3PathStyle: setting({
    env: 'ONQUEUE_S3_PATH_STYLE',
    reader: 'both',
    schema: flag,
    default: 'false',
    about: '`true`: the bucket stands in the path and not in the host name, as most other servers want it.',
  }),
  blobTimeoutMs: setting({
    env: 'ONQUEUE_BLOB_TIMEOUT_MS',
    reader: 'both',
    schema: integer(100, 600_000),
    default: '10000',
    about:
      'Milliseconds for reading or writing the inputs or results of a job. Then the API answers 503, and a worker tries the job again.',
  }),
  inlineInputBytes: setting({
    env: 'ONQUEUE_INLINE_INPUT_BYTES',
    reader: 'api',
    schema: integer(0, 512 * MB),
    default: String(32 * KB),
    about: 'Inputs of a job that are larger, as JSON, go into the blob store; smaller ones into its record.',
  }),
  inlineResultBytes: setting({
    env: 'ONQUEUE_INLINE_RESULT_BYTES',
    reader: 'worker',
    schema: integer(0, 512 * MB),
    default: String(8 * KB),
    about: 'The same for results. Those that the blob store does not take stay in the record.',
  }),
  maxLoadedInputBytes: setting({
    env: 'ONQUEUE_MAX_LOADED_INPUT_BYTES',
    reader: 'worker',
    schema: integer(1 * MB),
    default: String(256 * MB),
    about:
      'Bytes of inputs from the blob store that a worker holds at a time. Jobs beyond it wait in the worker; one that is larger comes alone.',
  }),
  maxFileBytes: setting({
    env: 'ONQUEUE_MAX_FILE_BYTES',
    reader: 'api',
    schema: integer(1 * KB),
    default: String(64 * MB),
    about: 'Bytes of a file, uploaded at once or in parts. A larger one is answered 413.',
  }),
  maxFilePartBytes: setting({
    env: 'ONQUEUE_MAX_FILE_PART_BYTES',
    reader: 'api',
    schema: integer(1 * KB),
    default: String(8 * MB),
    about: 'Bytes of one part of an upload. A larger one is answered 413.',
  }),
  maxFileParts: setting({
    env: 'ONQUEUE_MAX_FILE_PARTS',
    reader: 'api',
    schema: integer(1, 10_000),
    default: '1000',
    about: 'Parts of an upload; the highest number that a part may have.',
  }),
  maxFiles: setting({
    env: 'ONQUEUE_MAX_FILES',
    reader: 'api',
    schema: integer(1, 100_000),
    default: '1000',
    about: 'Files and uploads that a tenant may have at a time. One more is answered 429.',
  }),
  maxFilesBytes: setting({
    env: 'ONQUEUE_MAX_FILES_BYTES',
    reader: 'api',
    schema: integer(1 * KB),
    default: String(256 * MB),
    about: 'Bytes that the files and uploads of a tenant may have together. More are answered 429.',
  }),
  fileTtlS: setting({
    env: 'ONQUEUE_FILE_TTL_S',
    reader: 'api',
    schema: integer(60),
    default: '86400',
    about:
      'Seconds from its creation that a file or an upload is kept. Jobs that were posted with it are not affected.',
  }),
  maxMultipartParts: setting({
    env: 'ONQUEUE_MAX_MULTIPART_PARTS',
    reader: 'api',
    schema: integer(2, 10_000),
    default: '200',
    about: 'Parts of a `multipart/form-data` body of `POST /jobs`. More is answered 400.',
  }),
  maxRetentionS: setting({
    env: 'ONQUEUE_MAX_RETENTION_S',
    reader: 'api',
    schema: integer(1),
    default: '604800',
    about: 'Seconds of `retention` that a job may ask for. More is answered 400.',
  }),
  maxDelayS: setting({
    env: 'ONQUEUE_MAX_DELAY_S',
    reader: 'api',
    schema: integer(0),
    default: '604800',
    about:
      'Seconds ahead that `delay` and `run_at` may put a job. More is answered 400. A job that waits for its time counts in the backlog.',
  }),
  serviceSloS: setting({
    env: 'ONQUEUE_SERVICE_SLO_S',
    reader: 'api',
    schema: perServiceClass,
    default: 'realtime=1,standard=30,batch=86400',
    about:
      'Seconds from acceptance to the end that each `service_class` aims at. Told with the job, and counted by `onqueue_service_targets_total`; a job that misses it goes on.',
  }),
  servicePrices: setting({
    env: 'ONQUEUE_SERVICE_PRICES',
    reader: 'api',
    schema: perServiceClass,
    default: 'realtime=2,standard=1,batch=0.5',
    about:
      'By what the price of a row is multiplied in each `service_class`. Told with the job; nothing is billed here.',
  }),
  idempotencyTtlS: setting({
    env: 'ONQUEUE_IDEMPOTENCY_TTL_S',
    reader: 'api',
    schema: integer(60, 604_800),
    default: '86400',
    about:
      'Seconds for which an `Idempotency-Key` stands for its job; `ONQUEUE_RETENTION_S` where that is shorter. Then the key makes a new job.',
  }),
  versionWaitS: setting({
    env: 'ONQUEUE_VERSION_WAIT_S',
    reader: 'worker',
    schema: integer(0, 604_800),
    default: '600',
    about:
      'Seconds that a job waits for a worker with its version, while those that take it have others of the model. Then it fails with `model_unavailable`.',
  }),
  maxPredictions: setting({
    env: 'ONQUEUE_MAX_PREDICTIONS',
    reader: 'worker',
    schema: integer(0, 10_000_000),
    default: '10000',
    about:
      'Prediction records (model, hashes, scores, latency, never inputs) kept per model, the newest ones, about. 0 keeps none.',
  }),
  queueMetricsMinutes: setting({
    env: 'ONQUEUE_QUEUE_METRICS_MINUTES',
    reader: 'worker',
    schema: integer(0, 7000),
    default: '1440',
    about:
      "Minutes for which BullMQ's metrics of a queue (ended jobs a minute, shown by its dashboards) are kept. 0 keeps none.",
  }),
  lockDurationMs: setting({
    env: 'ONQUEUE_LOCK_DURATION_MS',
    reader: 'worker',
    schema: integer(500, 600_000),
    default: '10000',
    about: "Milliseconds after which a silent worker's jobs count as stalled. Locks are renewed at half of it.",
  }),
  stalledIntervalMs: setting({
    env: 'ONQUEUE_STALLED_INTERVAL_MS',
    reader: 'worker',
    schema: integer(100, 600_000),
    default: '5000',
    about: 'Milliseconds between two looks for stalled jobs. An orphan is taken up within lock + 2 × this.',
  }),
  jobSource: setting({
    env: 'ONQUEUE_JOB_SOURCE',
    reader: 'worker',
    schema: z.enum(['batch', 'stock']),
    default: 'batch',
    about:
      "How jobs are taken from the queue: `batch`, many at a time in one script, or `stock`, one by one with BullMQ's Worker. A worker whose Redis does not pass the test of the scripts at start uses `stock` and says so.",
  }),
  workerDrainTimeoutMs: setting({
    env: 'ONQUEUE_WORKER_DRAIN_TIMEOUT_MS',
    reader: 'worker',
    schema: integer(0, 3_600_000),
    default: '25000',
    about:
      'Milliseconds that running batches get after SIGTERM (set it below the notice of a spot machine). What is left then goes back to the queue.',
  }),
  webhookAllowCidrs: setting({
    env: 'ONQUEUE_WEBHOOK_ALLOW_CIDRS',
    reader: 'both',
    schema: networks,
    default: '',
    about:
      'Networks beside the public ones that webhooks may go to, such as `10.1.0.0/16`, separated by commas. Any other private, loopback or link-local address is refused: by the API where it stands in the URL, by the worker at connect.',
  }),
  webhookTimeoutMs: setting({
    env: 'ONQUEUE_WEBHOOK_TIMEOUT_MS',
    reader: 'worker',
    schema: integer(100, 60_000),
    default: '15000',
    about: 'Milliseconds for one delivery, from connecting to the last byte read. Then the attempt has failed.',
  }),
  webhookMaxResponseBytes: setting({
    env: 'ONQUEUE_WEBHOOK_MAX_RESPONSE_BYTES',
    reader: 'worker',
    schema: integer(0, 10 * MB),
    default: String(64 * KB),
    about: "Bytes of a receiver's answer that are read. Then the connection is closed.",
  }),
  webhookConcurrency: setting({
    env: 'ONQUEUE_WEBHOOK_CONCURRENCY',
    reader: 'worker',
    schema: integer(1, 1024),
    default: '128',
    about:
      'Deliveries that one worker has in flight. Half of them are for endpoints that have answered well last; the others share the other half.',
  }),
  webhookEndpointConcurrency: setting({
    env: 'ONQUEUE_WEBHOOK_ENDPOINT_CONCURRENCY',
    reader: 'worker',
    schema: integer(1, 1024),
    default: '32',
    about:
      'Deliveries in flight to one endpoint, over all workers. It begins with one, and has more the better it answers; what is above waits and holds nothing.',
  }),
  webhookEndpointRatePerS: setting({
    env: 'ONQUEUE_WEBHOOK_ENDPOINT_RATE_PER_S',
    reader: 'worker',
    schema: integer(0, 100_000),
    default: '0',
    about:
      'Deliveries a second to one endpoint, over all workers; what is above waits. `0`: as many as its concurrency lets through.',
  }),
  webhookCircuitFailures: setting({
    env: 'ONQUEUE_WEBHOOK_CIRCUIT_FAILURES',
    reader: 'worker',
    schema: integer(1, 1000),
    default: '10',
    about:
      'Failed attempts in a row, of whichever deliveries, after which an endpoint is left alone but for one probe at a time.',
  }),
  webhookCircuitOpenMs: setting({
    env: 'ONQUEUE_WEBHOOK_CIRCUIT_OPEN_MS',
    reader: 'worker',
    schema: integer(10, 3_600_000),
    default: '10000',
    about:
      'Milliseconds before the first probe; twice as many after each that fails, up to five minutes. Deliveries wait meanwhile and lose no attempts.',
  }),
  webhookPauseMs: setting({
    env: 'ONQUEUE_WEBHOOK_PAUSE_MS',
    reader: 'worker',
    schema: integer(1, 60_000),
    default: '1000',
    about:
      'Milliseconds for which an endpoint is left alone after a 429, 502, 503 or 504 without a `Retry-After`; twice as many after each further one, up to a minute.',
  }),
  webhookOrder: setting({
    env: 'ONQUEUE_WEBHOOK_ORDER',
    reader: 'worker',
    schema: z.enum(['none', 'job']),
    default: 'none',
    about:
      '`job`: an endpoint is told of the events of a job one after the other, the next when the one before is delivered or given up. `none`: each as soon as it can be.',
  }),
  webhookScheduleMs: setting({
    env: 'ONQUEUE_WEBHOOK_SCHEDULE_MS',
    reader: 'worker',
    schema: list.pipe(z.array(integer(0)).min(1).max(20)),
    default: '0,5000,300000,1800000,7200000,18000000,36000000,50400000,72000000,86400000',
    about: 'Milliseconds before each attempt of a delivery, ± 10 %. When the last one has failed, the delivery has.',
  }),
  webhookSigningKeys: setting({
    env: 'ONQUEUE_WEBHOOK_SIGNING_KEYS',
    reader: 'both',
    schema: keyList(parseSigningKey),
    default: '',
    about:
      'What `v1a` signatures (ed25519) are made with: `whsk_` and the base64 of 32 random bytes, separated by commas. Each signs, with a key pair of its own for every receiver. Without one there are only `v1` signatures.',
  }),
  webhookMasterKeys: setting({
    env: 'ONQUEUE_WEBHOOK_MASTER_KEYS',
    reader: 'both',
    schema: keyList(parseMasterKey),
    default: '',
    about:
      'Encrypt the secrets of endpoints in Redis (AES-256-GCM): the base64 of 32 random bytes, separated by commas. The first one encrypts, all of them decrypt. Without one the secrets are kept as they are.',
  }),
  webhookMaxEndpoints: setting({
    env: 'ONQUEUE_WEBHOOK_MAX_ENDPOINTS',
    reader: 'api',
    schema: integer(0, 1000),
    default: '50',
    about: 'Webhook endpoints that a tenant may register. One more is answered 409.',
  }),
  webhookSecretOverlapS: setting({
    env: 'ONQUEUE_WEBHOOK_SECRET_OVERLAP_S',
    reader: 'api',
    schema: integer(0, 2_592_000),
    default: '86400',
    about:
      'Seconds for which the secrets before a new one go on signing beside it, unless the rotation says otherwise. At most five sign at once.',
  }),
  webhookDisableAfterS: setting({
    env: 'ONQUEUE_WEBHOOK_DISABLE_AFTER_S',
    reader: 'worker',
    schema: integer(1, 31_536_000),
    default: '432000',
    about: 'Seconds without one answer of 2xx after which an endpoint that fails again is disabled.',
  }),
  webhookRetentionS: setting({
    env: 'ONQUEUE_WEBHOOK_RETENTION_S',
    reader: 'both',
    schema: integer(1, 2_592_000),
    default: '604800',
    about: 'Seconds that a delivery and its attempts can be looked at, and sent again, after the last attempt.',
  }),
  webhookMaxDeliveries: setting({
    env: 'ONQUEUE_WEBHOOK_MAX_DELIVERIES',
    reader: 'both',
    schema: integer(1, 1_000_000),
    default: '10000',
    about:
      'Deliveries of a tenant that are listed, and as many that failed beside them. Of more than that the oldest are forgotten.',
  }),
} as const;

type Settings = typeof SETTINGS;
type Value<S> = S extends Setting<infer Schema> ? z.output<Schema> : never;
type OptionalSetting =
  | 'otlpEndpoint'
  | 'publicUrl'
  | 'webhookSecret'
  | 'cacheDir'
  | 'blobDir'
  | 's3Bucket'
  | 's3Endpoint';
export type Config = {
  [K in keyof Settings]: K extends OptionalSetting ? Value<Settings[K]> | undefined : Value<Settings[K]>;
};

/** Settings are wrong; the message has one line for each, saying what it must be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads the environment; every process reads the whole table, so that a wrong value is told wherever it is first seen.
 * @throws ConfigError that names every wrong variable.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const faults: string[] = [];
  const entries = Object.entries(SETTINGS).map(([key, { env: name, schema, default: fallback }]) => {
    const text = env[name] === undefined || env[name] === '' ? fallback : env[name];
    if (text === undefined) return [key, undefined];
    const parsed = (schema as z.ZodType).safeParse(text);
    if (parsed.success) return [key, parsed.data];
    faults.push(`${name}: ${parsed.error.issues.map(({ message }) => message).join('; ')}`);
    return [key, undefined];
  });
  if (faults.length > 0) {
    throw new ConfigError(`The configuration is not valid (docs/configuration.md):\n  ${faults.join('\n  ')}`);
  }
  return Object.fromEntries(entries) as Config;
}

/** Variables that look like ours and are not: most often a misspelling. */
export function unknownSettings(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set<string>([...Object.values(SETTINGS).map(({ env: name }) => name), ...LAUNCHER_VARIABLES]);
  return Object.keys(env).filter((name) => name.startsWith('ONQUEUE_') && !known.has(name));
}

/** Read by `npm start`, `npm run demo` and `npm test`, before the platform starts, by the command line, and by fault-point.ts. */
const LAUNCHER_VARIABLES = [
  'ONQUEUE_REDIS_SERVER',
  'ONQUEUE_DEBUG',
  'ONQUEUE_API_URL',
  'ONQUEUE_API_KEY',
  'ONQUEUE_FAULT_POINTS',
];

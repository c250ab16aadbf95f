import type { Lane } from '../lane.ts';

/**
 * Every key of the platform. Keys that meet in one script share the hash tag of their partition, so that they live in
 * one Redis Cluster slot; the fleet's keys have a tag of their own.
 */
export class RedisKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** How every key of a partition begins. */
  partition(partition: number): string {
    return `${this.#prefix}:{${partition}}:`;
  }

  /** Hash: the job record. */
  job(partition: number, tenant: string, id: string): string {
    return `${this.partition(partition)}job:${tenant}:${id}`;
  }

  /** Hash: what waits for a model, and how much has ended. */
  backlog(partition: number, model: string): string {
    return `${this.partition(partition)}backlog:${model}`;
  }

  /** List: the runs of a job before its latest one, oldest first, as JSON. */
  runs(partition: number, tenant: string, id: string): string {
    return `${this.partition(partition)}runs:${tenant}:${id}`;
  }

  /** Sorted set without scores: a tenant's jobs for a model, in order of their ids; those that ended in `state` alone. */
  jobs(partition: number, tenant: string, model: string, state?: string): string {
    return `${this.partition(partition)}jobs:${tenant}:${model}${state === undefined ? '' : `:${state}`}`;
  }

  /** Set: the models that a tenant's jobs are listed under. */
  jobModels(partition: number, tenant: string): string {
    return `${this.partition(partition)}job-models:${tenant}`;
  }

  /** Set: the tenants that have such a set. */
  jobTenants(partition: number): string {
    return `${this.partition(partition)}job-tenants`;
  }

  /** Sorted set without scores: a tenant's jobs with one value of an indexed metadata key, in order of their ids. */
  taggedJobs(partition: number, tenant: string, tag: string): string {
    return `${this.partition(partition)}tagged:${tenant}:${tag}`;
  }

  /** String: when a job was deleted, Unix ms. */
  deletedJob(partition: number, tenant: string, id: string): string {
    return `${this.partition(partition)}deleted:${tenant}:${id}`;
  }

  /** Stream: who deleted what, the newest lines; hash: where this chain begins and ends. */
  audit(partition: number): string {
    return `${this.partition(partition)}audit`;
  }

  auditHead(partition: number): string {
    return `${this.partition(partition)}audit-head`;
  }

  /** String: there while somebody looks after the lists of jobs. */
  pruneTurn(partition: number): string {
    return `${this.partition(partition)}prune-turn`;
  }

  /** Hash: the origins of results by their ids, as JSON. A handful; each is written once and never changes. */
  origins(partition: number): string {
    return `${this.partition(partition)}origins`;
  }

  /** Stream: what a model answered, the newest ones: what drift is measured by. */
  predictions(partition: number, model: string): string {
    return `${this.partition(partition)}predictions:${model}`;
  }

  /** Hash: what a version answered, when and what; sorted set: the same keys by when. */
  cachedResults(partition: number, model: string, version: string): [outputs: string, ages: string] {
    const prefix = `${this.partition(partition)}cached`;
    return [`${prefix}:${model}:${version}`, `${prefix}-ages:${model}:${version}`];
  }

  /** Stream: events on their way to the webhook queue. */
  outbox(partition: number): string {
    return `${this.partition(partition)}outbox`;
  }

  /** Hash: a tenant's endpoints to the types of events that they want, separated by blanks: what scripts go by. */
  subscriptions(partition: number, tenant: string): string {
    return `${this.partition(partition)}subscriptions:${tenant}`;
  }

  /** Hash: a tenant's endpoints by their ids, as JSON. With all that is about webhooks in the first partition. */
  endpoints(tenant: string): string {
    return `${this.partition(0)}endpoints:${tenant}`;
  }

  /** Set: the tenants that have endpoints. */
  get endpointTenants(): string {
    return `${this.partition(0)}endpoint-tenants`;
  }

  /** Hash: the secrets of a tenant's endpoints by their ids, sealed. */
  endpointSecrets(tenant: string): string {
    return `${this.partition(0)}endpoint-secrets:${tenant}`;
  }

  /** Hash: endpoints that have not answered 2xx since, Unix ms. */
  endpointsFailing(tenant: string): string {
    return `${this.partition(0)}endpoints-failing:${tenant}`;
  }

  /** Hash: a delivery, how it stands and its attempts. */
  delivery(tenant: string, id: string): string {
    return `${this.partition(0)}delivery:${tenant}:${id}`;
  }

  /** Sorted set: a tenant's deliveries by when they were made; those that failed by when they did. */
  deliveries(tenant: string): string {
    return `${this.partition(0)}deliveries:${tenant}`;
  }

  failedDeliveries(tenant: string): string {
    return `${this.partition(0)}deliveries-failed:${tenant}`;
  }

  /** Sorted set: the deliveries about a job by when they were made. */
  deliveriesOf(tenant: string, jobId: string): string {
    return `${this.partition(0)}deliveries-of:${tenant}:${jobId}`;
  }

  /** Sorted set: the tenants whose jobs are parked beside a queue, by virtual time (see share-functions.ts). */
  turns(partition: number, queue: string): string {
    return `${this.partition(partition)}shares:${queue}:turns`;
  }

  /** Sorted set: a tenant's jobs that wait for its turn, by when they were parked. */
  parked(partition: number, queue: string, tenant: string): string {
    return `${this.partition(partition)}shares:${queue}:parked:${tenant}`;
  }

  /** Hash: tenant to the weight of its share; 1 for whom it does not name. */
  weights(partition: number): string {
    return `${this.partition(partition)}weights`;
  }

  /** Never written: what a script deletes first, so that a full Redis lets it through (see commit.ts). */
  scratch(partition: number): string {
    return `${this.partition(partition)}scratch`;
  }

  /** Sorted set: blobs by when they go. */
  blobs(partition: number): string {
    return `${this.partition(partition)}blobs`;
  }

  /** Hash: the chunks of a blob. In a slot of its own, so that blobs spread over a cluster. */
  blob(tenant: string, name: string): string {
    return `${this.#prefix}:{blob:${tenant}:${name}}`;
  }

  /** Hash: what is known of a file; sorted set: a tenant's files by when they go. */
  file(tenant: string, id: string): string {
    return `${this.#prefix}:{tenant:${tenant}}:file:${id}`;
  }

  files(tenant: string): string {
    return `${this.#prefix}:{tenant:${tenant}}:files`;
  }

  /** Channel: ids of jobs that have ended, separated by blanks. */
  done(partition: number): string {
    return `${this.partition(partition)}done`;
  }

  /** Channel: runs that ended while a worker may hold them, as `<id>-<run>`, separated by blanks. */
  halt(partition: number): string {
    return `${this.partition(partition)}halt`;
  }

  /** The `prefix` option of every BullMQ queue and worker of a partition. */
  bullPrefix(partition: number): string {
    return `${this.partition(partition)}bull`;
  }

  /** String: the job that an idempotency key stands for, in the slot of its tenant. */
  reservation(tenant: string, keySha256: string): string {
    return `${this.#prefix}:{tenant:${tenant}}:idempotency:${keySha256}`;
  }

  /** Hash: what is in the bucket of a key, and when it was. */
  rateBucket(tenant: string, keyId: string): string {
    return `${this.#prefix}:{tenant:${tenant}}:rate:${keyId}`;
  }

  /** How the hashes begin that count a tenant's days. */
  quotaDay(tenant: string): string {
    return `${this.#prefix}:{tenant:${tenant}}:quota`;
  }

  /** Hash `<name>/<version>` → descriptor. */
  get models(): string {
    return `${this.#prefix}:{fleet}:models`;
  }

  /** Sorted set `<name>/<version>@<worker>` → when the claim to serve it ends, Unix ms. */
  get ready(): string {
    return `${this.#prefix}:{fleet}:ready`;
  }

  /** Hash `<name>/<version>@<worker>` → state of its circuit, when it tries again, and when this ends to be true, Unix ms. */
  get circuits(): string {
    return `${this.#prefix}:{fleet}:circuits`;
  }

  /** Hash `<name>/<version>@<worker>` → until when this is true, Unix ms, whether it takes jobs, and the rest as JSON. */
  get versionStates(): string {
    return `${this.#prefix}:{fleet}:version-states`;
  }

  /** Hash `<name>` or `<name>/<version>` → what operators want, as JSON. */
  get modelOrders(): string {
    return `${this.#prefix}:{fleet}:orders`;
  }

  /** As those of a partition, of what happens to models; the endpoints are `<tenant> <id>`. */
  get fleetOutbox(): string {
    return `${this.#prefix}:{fleet}:outbox`;
  }

  get fleetSubscriptions(): string {
    return `${this.#prefix}:{fleet}:subscriptions`;
  }

  /** Hash: API keys by their ids, as JSON; hash: when each was used last, Unix ms. */
  get apiKeys(): string {
    return `${this.#prefix}:{fleet}:api-keys`;
  }

  get apiKeysUsed(): string {
    return `${this.#prefix}:{fleet}:api-keys-used`;
  }

  /** Hash: tenants by their ids, as JSON. */
  get tenants(): string {
    return `${this.#prefix}:{fleet}:tenants`;
  }

  /** As those of a partition: what was done to keys, tenants and models. */
  get fleetAudit(): string {
    return `${this.#prefix}:{fleet}:audit`;
  }

  get fleetAuditHead(): string {
    return `${this.#prefix}:{fleet}:audit-head`;
  }

  /** Hash `<name>/<version>` → why it takes no jobs any more, as JSON. */
  get retired(): string {
    return `${this.#prefix}:{fleet}:retired`;
  }
}

/** One BullMQ queue per model and lane. */
export function queueName(model: string, lane: Lane): string {
  return `${model}.${lane}`;
}

/** A run's id in BullMQ: which may hold no colon, and of which there is one per run. */
export function queueJobId(id: string, run: number): string {
  return `${id}-${run}`;
}

export function parseQueueJobId(text: string): { id: string; run: number } {
  const dash = text.lastIndexOf('-');
  return { id: text.slice(0, dash), run: Number(text.slice(dash + 1)) };
}

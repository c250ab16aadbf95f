import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What a worker counts. Labels are few and bounded: no tenants, no ids. */
export class WorkerMetrics {
  readonly registry = new Registry();
  readonly jobsFinished = new Counter({
    name: 'onqueue_jobs_finished_total',
    help: 'Runs that this worker ended, by their terminal state.',
    labelNames: ['model', 'version', 'status'],
    registers: [this.registry],
  });
  readonly serviceTargets = new Counter({
    name: 'onqueue_service_targets_total',
    help: 'Jobs with a service class that this worker ended, by whether they did so within the target of their class.',
    labelNames: ['model', 'service_class', 'met'],
    registers: [this.registry],
  });
  readonly rowsFinished = new Counter({
    name: 'onqueue_rows_finished_total',
    help: 'Rows of runs that this worker ended.',
    labelNames: ['model', 'version', 'status'],
    registers: [this.registry],
  });
  readonly attemptsRetried = new Counter({
    name: 'onqueue_attempts_retried_total',
    help: 'Attempts that failed for a reason that may pass; the job was queued again.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly retriesRefused = new Counter({
    name: 'onqueue_retries_refused_total',
    help: 'Attempts that failed for a reason that may pass and were not tried again: the model had used up its retries.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly commitsFenced = new Counter({
    name: 'onqueue_commits_fenced_total',
    help: 'Results discarded because a later attempt holds the job or its run has ended.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly batchRows = new Histogram({
    name: 'onqueue_batch_rows',
    help: 'Rows in the batches that were formed.',
    labelNames: ['model', 'version'],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    registers: [this.registry],
  });
  readonly batchElements = new Counter({
    name: 'onqueue_batch_elements_total',
    help: 'Elements of batches whose rows vary in length: the rows themselves, and the padding that fills them up.',
    labelNames: ['model', 'version', 'kind'],
    registers: [this.registry],
  });
  readonly batchMemoryLimit = new Gauge({
    name: 'onqueue_batch_memory_limit_rows',
    help: 'Rows to which batches are cut since larger ones did not fit into memory; 0: not any more.',
    labelNames: ['model', 'version'],
    registers: [this.registry],
  });
  readonly batchSizeLimit = new Gauge({
    name: 'onqueue_batch_size_limit',
    help: 'Rows that a batch may have: as calibrated, or the max_batch_size of the manifest.',
    labelNames: ['model', 'version'],
    registers: [this.registry],
  });
  readonly phaseDuration = new Histogram({
    name: 'onqueue_phase_duration_seconds',
    help: 'Where the time of a job went: queue, batch_wait, preprocess, inference, postprocess, store, deliver. The API has those before.',
    labelNames: ['model', 'phase'],
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });
  readonly pendingRows = new Gauge({
    name: 'onqueue_batcher_pending_rows',
    help: 'Rows claimed by this worker that wait for a batch.',
    labelNames: ['model', 'version'],
    registers: [this.registry],
  });
  readonly runnersReady = new Gauge({
    name: 'onqueue_runners_ready',
    help: 'Runner processes that can take a batch.',
    labelNames: ['model', 'version'],
    registers: [this.registry],
  });
  readonly runnerStart = new Gauge({
    name: 'onqueue_runner_start_seconds',
    help: 'What the start of the newest runner took: load (checksum, session, manifest) and warmup (the golden rows).',
    labelNames: ['model', 'version', 'phase'],
    registers: [this.registry],
  });
  readonly executionProviderRunners = new Gauge({
    name: 'onqueue_execution_provider_runners',
    help: 'Runners that can take a batch, by the execution providers that were asked for and the one that computes.',
    labelNames: ['model', 'version', 'requested', 'used'],
    registers: [this.registry],
  });
  readonly versionState = new Gauge({
    name: 'onqueue_model_version_state',
    help: '1 for the state that a version of the repository is in on this worker, 0 for the others.',
    labelNames: ['model', 'version', 'state'],
    registers: [this.registry],
  });
  readonly modelLoads = new Counter({
    name: 'onqueue_model_loads_total',
    help: 'Loads of a version, with warm-up and golden rows, by how they ended: ready, failed.',
    labelNames: ['model', 'version', 'outcome'],
    registers: [this.registry],
  });
  readonly modelUnloads = new Counter({
    name: 'onqueue_model_unloads_total',
    help: 'Versions whose runners were ended, by why: removed, unloaded, memory, replaced.',
    labelNames: ['model', 'version', 'cause'],
    registers: [this.registry],
  });
  readonly modelLoadDuration = new Histogram({
    name: 'onqueue_model_load_duration_seconds',
    help: 'From the start of the runners of a version until all are proved and measured.',
    labelNames: ['model'],
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });
  readonly modelColdStart = new Histogram({
    name: 'onqueue_model_cold_start_seconds',
    help: 'From the first job that found an on_demand version unloaded until it was ready.',
    labelNames: ['model'],
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });
  readonly modelMemory = new Gauge({
    name: 'onqueue_models_resident_bytes',
    help: 'Resident memory of all runners, and what loads under way have reserved, where there is a budget.',
    registers: [this.registry],
  });
  readonly runnerMemoryHeadroom = new Gauge({
    name: 'onqueue_runner_memory_headroom_bytes',
    help: 'ONQUEUE_RUNNER_MAX_MEMORY_BYTES less what the largest runner had after its last batch; absent without a cap.',
    labelNames: ['model', 'version'],
    registers: [this.registry],
  });
  readonly runnerRestarts = new Counter({
    name: 'onqueue_runner_restarts_total',
    help: 'Runners that were started again, by why the one before ended.',
    labelNames: ['model', 'version', 'cause'],
    registers: [this.registry],
  });
  readonly fallbackRows = new Counter({
    name: 'onqueue_fallback_rows_total',
    help: 'Rows that a fallback answered, by the model that could not and the type of fallback.',
    labelNames: ['model', 'version', 'type'],
    registers: [this.registry],
  });
  readonly circuitState = new Gauge({
    name: 'onqueue_circuit_state',
    help: '1 for the state that the circuit of a version is in, 0 for the others.',
    labelNames: ['model', 'version', 'state'],
    registers: [this.registry],
  });
  readonly circuitTransitions = new Counter({
    name: 'onqueue_circuit_transitions_total',
    help: 'Changes of the circuit of a version, by the new state and, where it opened, why.',
    labelNames: ['model', 'version', 'to', 'cause'],
    registers: [this.registry],
  });
  readonly webhookDeliveries = new Counter({
    name: 'onqueue_webhook_deliveries_total',
    help: 'Delivery attempts, by outcome.',
    labelNames: ['outcome'],
    registers: [this.registry],
  });
  readonly webhookDuration = new Histogram({
    name: 'onqueue_webhook_delivery_duration_seconds',
    help: 'One delivery attempt, from connecting to the last byte read.',
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }
}

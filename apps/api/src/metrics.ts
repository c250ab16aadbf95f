import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What the API counts. Labels are few and bounded: no tenants, no ids. */
export class ApiMetrics {
  readonly registry = new Registry();
  readonly requestDuration = new Histogram({
    name: 'onqueue_http_request_duration_seconds',
    help: 'From the first byte of a request to the end of its answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers: [this.registry],
  });
  readonly phaseDuration = new Histogram({
    name: 'onqueue_phase_duration_seconds',
    help: 'Where the time of a job went, before the queue: network_in, validate. The worker has the phases after it.',
    labelNames: ['model', 'phase'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers: [this.registry],
  });
  readonly jobsAccepted = new Counter({
    name: 'onqueue_jobs_accepted_total',
    help: 'Jobs answered 202.',
    labelNames: ['model', 'version', 'lane'],
    registers: [this.registry],
  });
  readonly rowsAccepted = new Counter({
    name: 'onqueue_rows_accepted_total',
    help: 'Rows of jobs answered 202.',
    labelNames: ['model', 'version', 'lane'],
    registers: [this.registry],
  });
  readonly jobsRefused = new Counter({
    name: 'onqueue_jobs_refused_total',
    help: 'POST /jobs answered otherwise, by problem code.',
    labelNames: ['problem'],
    registers: [this.registry],
  });
  readonly queueDepthJobs = new Gauge({
    name: 'onqueue_queue_depth_jobs',
    help: 'Jobs accepted and not ended.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly queueDepthRows = new Gauge({
    name: 'onqueue_queue_depth_rows',
    help: 'Rows of jobs accepted and not ended.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly queueDepthBytes = new Gauge({
    name: 'onqueue_queue_depth_bytes',
    help: 'Bytes of inputs of jobs accepted and not ended.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly oldestJobAge = new Gauge({
    name: 'onqueue_queue_oldest_job_age_seconds',
    help: 'Age of the oldest job that no worker has claimed; 0 when there is none.',
    labelNames: ['model', 'lane'],
    registers: [this.registry],
  });
  readonly waiters = new Gauge({
    name: 'onqueue_waiters',
    help: 'Long polls held open by this process.',
    registers: [this.registry],
  });

  readonly laneState = new Gauge({
    name: 'onqueue_lane_state',
    help: 'What an operator has a lane do: 0 open, 1 paused, 2 draining.',
    labelNames: ['model', 'lane'],
    registers: [this.registry],
  });
  readonly eventReaders = new Gauge({
    name: 'onqueue_event_readers',
    help: 'Streams of events held open by this process.',
    registers: [this.registry],
  });
  readonly eventReadersDropped = new Counter({
    name: 'onqueue_event_readers_dropped_total',
    help: 'Readers of events that were cut off because they were too slow.',
    registers: [this.registry],
  });

  readonly cacheRows = new Counter({
    name: 'onqueue_cache_rows_total',
    help: 'Rows of accepted jobs that might be answered from the cache: hit, follow (an equal row is being computed), miss.',
    labelNames: ['model', 'version', 'outcome'],
    registers: [this.registry],
  });
  readonly cacheHitRatio = new Gauge({
    name: 'onqueue_cache_hit_ratio',
    help: 'Hits among these rows since this process started.',
    labelNames: ['model', 'version'],
    registers: [this.registry],
  });

  readonly storeUsed = new Gauge({
    name: 'onqueue_store_used_bytes',
    help: 'Memory that Redis uses.',
    registers: [this.registry],
  });
  readonly storeMax = new Gauge({
    name: 'onqueue_store_max_bytes',
    help: "Redis' maxmemory; 0: no limit.",
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  readonly #looked = new Map<string, { hits: number; rows: number }>();

  countReuse(labels: { model: string; version: string }, rows: { hit: number; follow?: number; miss?: number }): void {
    const name = `${labels.model}/${labels.version}`;
    const looked = this.#looked.get(name) ?? { hits: 0, rows: 0 };
    this.#looked.set(name, looked);
    for (const [outcome, count = 0] of Object.entries(rows)) {
      this.cacheRows.inc({ ...labels, outcome }, count);
      looked.rows += count;
    }
    looked.hits += rows.hit;
    this.cacheHitRatio.set(labels, looked.hits / looked.rows);
  }
}

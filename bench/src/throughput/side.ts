/** One of the two systems that are compared, with its worker running and warm. */
export interface Side {
  /** Queues `count` jobs of the workload, drains them, and says how that went. @throws MeasurementError */
  drain(count: number): Promise<DrainResult>;
  stop(): Promise<void>;
}

export interface DrainResult {
  /** From the moment at which the worker may start to the end of the last job. */
  jobsPerS: number;
  /** CPU time per job, µs; undefined where CPU time is not counted. */
  workerCpuUs: number | undefined;
  redisCpuUs: number | undefined;
}

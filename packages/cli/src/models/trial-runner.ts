import type { ModelManifest, RowResult } from '@onqueue/shared';
import { type InspectedGraph, type ModelFilePolicy, RunnerProcess } from '@onqueue/worker/model-tools';

/** A model that is loaded in a process of its own, for as long as it is tried. */
export interface TrialRunner {
  /** Rejects when the batch has no answer: the engine refused it, or the process did not survive it. */
  run(rows: readonly unknown[]): Promise<RowResult[]>;
  loadMs: number;
  stop(): Promise<unknown>;
}

/** How models are tried: never in this process, which they could hang or end. */
export interface TrialRunners {
  inspect(path: string): Promise<InspectedGraph>;
  /** Golden rows are replayed only for `must_match`. Rejects when the model cannot be loaded so. */
  start(model: {
    folder: string;
    manifest: ModelManifest;
    golden: 'must_match' | 'not_compared';
  }): Promise<TrialRunner>;
}

export interface TrialRunnersOptions {
  env: Readonly<Record<string, string | undefined>>;
  /** What a model file may be. */
  filePolicy: ModelFilePolicy;
  /** For loading, and for each run. */
  timeoutMs: number;
  maxMemoryBytes: number;
}

export function trialRunners({ env, filePolicy, timeoutMs, maxMemoryBytes }: TrialRunnersOptions): TrialRunners {
  const common = { env, filePolicy, intraOpNumThreads: 1, startTimeoutMs: timeoutMs, memoryLimitBytes: maxMemoryBytes };
  return {
    inspect: (path) => RunnerProcess.inspect({ ...common, path }),
    async start(model) {
      const runner = await RunnerProcess.start({ ...common, ...model });
      return {
        loadMs: runner.loaded.load_ms,
        run: async (rows) => (await runner.run(rows, { timeoutMs }).answer).results,
        stop: () => runner.stop(),
      };
    },
  };
}

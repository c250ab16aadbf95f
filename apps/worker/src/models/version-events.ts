import { versionState } from '@onqueue/shared';
import type { Logger } from 'pino';
import type { WorkerMetrics } from '../metrics.ts';
import type { ManagedVersion } from './managed-version.ts';
import type { ModelManagerEvents } from './model-manager.ts';

export interface VersionEventsOptions {
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  metrics: WorkerMetrics;
  onChange: (version: ManagedVersion) => void;
  onRetired: ModelManagerEvents['onRetired'];
}

/** The life of versions as log lines and metrics. */
export function versionEvents({ logger, metrics, onChange, onRetired }: VersionEventsOptions): ModelManagerEvents {
  return {
    onChange(version) {
      const { name: model, version: of, state, reason } = version;
      for (const other of versionState.options) {
        metrics.versionState.set({ model, version: of, state: other }, Number(other === state));
      }
      if (state === 'incomplete') logger.error({ model, version: of }, `model cannot be served: ${reason}`);
      onChange(version);
    },
    onRetired(version, retirement) {
      const { name: model, version: of } = version;
      logger.info({ model, version: of, cause: retirement.cause }, `takes no new jobs: ${retirement.reason}`);
      onRetired(version, retirement);
    },
    onLoaded({ name: model, version, served, manifest }, { durationMs, coldStartMs }) {
      metrics.modelLoads.inc({ model, version, outcome: 'ready' });
      metrics.modelLoadDuration.observe({ model }, durationMs / 1000);
      if (coldStartMs !== undefined) metrics.modelColdStart.observe({ model }, coldStartMs / 1000);
      const limits = { batch_size_limit: served?.maxBatchSize, of: manifest?.batching.max_batch_size };
      const coldStart = coldStartMs === undefined ? {} : { cold_start_ms: Math.round(coldStartMs) };
      logger.info({ model, version, ...limits, ...coldStart }, 'model is ready');
      if (manifest && !manifest.golden) {
        logger.warn({ model, version }, 'no golden rows: nothing proves that rows are read as training did');
      }
      if (served?.fallbackReason) logger.warn({ model, version }, `computed by the cpu: ${served.fallbackReason}`);
    },
    onFailed({ name: model, version, manifest }, error) {
      metrics.modelLoads.inc({ model, version, outcome: 'failed' });
      logger.error({ model, version, kind: manifest?.kind }, `model cannot be served: ${error.message}`);
    },
    onUnloaded({ name: model, version }, cause) {
      metrics.modelUnloads.inc({ model, version, cause });
      logger.info({ model, version, cause }, 'model is unloaded');
    },
    onForgotten({ name: model, version }) {
      for (const state of versionState.options) metrics.versionState.remove({ model, version, state });
      logger.info({ model, version }, 'version is gone');
    },
  };
}

import { type Clock, type Config, ConfigError } from '@onqueue/shared';
import type { GraphReader } from '../onnx/graph-outline.ts';
import { ArtifactCache } from './artifact-cache.ts';
import { FolderModelSource } from './folder-model-source.ts';
import type { ModelSource } from './model-source.ts';
import { S3ModelSource } from './s3-model-source.ts';

type SourceConfig = Pick<Config, 'modelsDir' | 's3Region' | 's3Endpoint' | 's3PathStyle' | 'modelFetchTimeoutMs'>;

/** The model repository that is configured. @throws ConfigError when it cannot be opened. */
export async function openModelSource(
  config: SourceConfig,
  { cacheDir, clock, readGraph }: { cacheDir: string; clock: Clock; readGraph: GraphReader },
): Promise<ModelSource> {
  if (!config.modelsDir.startsWith('s3://')) return new FolderModelSource({ modelsDir: config.modelsDir });
  return S3ModelSource.open({
    url: config.modelsDir,
    region: config.s3Region,
    endpoint: config.s3Endpoint,
    isPathStyle: config.s3PathStyle,
    timeoutMs: config.modelFetchTimeoutMs,
    cache: new ArtifactCache({ cacheDir, clock }),
    readGraph,
  }).catch((cause: Error) => {
    throw new ConfigError(cause.message, { cause });
  });
}

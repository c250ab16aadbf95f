import {
  describeModel,
  type ModelDescriptor,
  type ModelManifest,
  type ModelRegistry,
  preprocessSha256,
} from '@onqueue/shared';

/**
 * What stood in Redis of the models when this worker began. A version that is the same still needs no measuring to be described, and was proved
 * by whoever published it.
 */
export class PublishedModels {
  readonly #registry: Pick<ModelRegistry, 'list'>;
  #published: readonly ModelDescriptor[] = [];
  /** Of versions that are not in memory; the same object as long as they are the same. */
  readonly #described = new WeakMap<ModelManifest, ModelDescriptor>();

  constructor({ registry }: { registry: Pick<ModelRegistry, 'list'> }) {
    this.#registry = registry;
  }

  async read(): Promise<void> {
    this.#published = (await this.#registry.list()).map(({ descriptor }) => descriptor);
  }

  has(manifest: ModelManifest): boolean {
    return this.#published.some((descriptor) => isOf(descriptor, manifest));
  }

  /** What was published of it, with its measurements, if it is still the same; else what the manifest says. */
  describe(manifest: ModelManifest): ModelDescriptor {
    const known = this.#described.get(manifest);
    if (known) return known;
    const descriptor = this.#published.find((published) => isOf(published, manifest)) ?? describeModel(manifest);
    this.#described.set(manifest, descriptor);
    return descriptor;
  }
}

function isOf(descriptor: ModelDescriptor, manifest: ModelManifest): boolean {
  return (
    descriptor.name === manifest.name &&
    descriptor.version === manifest.version &&
    descriptor.artifact_sha256 === manifest.artifact.sha256 &&
    descriptor.preprocess_sha256 === preprocessSha256(manifest)
  );
}

import { mayAnswer, Problem, type PublishedModel } from '@onqueue/shared';

/**
 * A job for a model that every worker leaves alone would only wait, unless something answers in its place.
 * @throws Problem model_unavailable
 */
export function assertAvailable(model: string, version: string, published: readonly PublishedModel[]): void {
  const found = published.find(({ descriptor }) => descriptor.version === version);
  if (found?.circuit.state !== 'open' || mayAnswer(found.descriptor.fallbacks)) return;
  const { circuit } = found;
  const retryAfterS = Math.max(1, Math.ceil(circuit.retryAfterMs / 1000));
  const detail = `Version ${version} of model "${model}" has failed too often of late. It is tried again in ${retryAfterS} s.`;
  throw new Problem('model_unavailable', detail, { retryAfterS });
}

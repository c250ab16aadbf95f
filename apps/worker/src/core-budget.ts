/**
 * What to say about more threads than cores; undefined: they are enough. Runners that share a core take turns on it, each
 * with the caches of the others, and calibration measures them without the others.
 */
export function coreBudgetWarning(options: {
  instances: number;
  intraOpThreads: number;
  versions: number;
  cores: number;
}): string | undefined {
  const { instances, intraOpThreads, versions, cores } = options;
  const threads = instances * intraOpThreads * versions;
  if (threads <= cores) return undefined;
  const product = `${versions} model versions × ONQUEUE_INSTANCES=${instances} × ONQUEUE_INTRA_OP_THREADS=${intraOpThreads}`;
  return `${product} are ${threads} threads on ${cores} cores: under load on all of them, each gets slower.`;
}

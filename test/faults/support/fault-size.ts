/** `ONQUEUE_FAULTS=full` runs the sizes of the fault table, for a night; otherwise a part of them, for every day. */
export const isFullSize = process.env.ONQUEUE_FAULTS === 'full';

export function sized<T>({ small, full }: { small: T; full: T }): T {
  return isFullSize ? full : small;
}

/** `FAULT_SEED` runs a scenario again as it was; a seed decides what we do, not how the processes interleave. */
export function faultSeed(): number {
  const seed = Number(process.env.FAULT_SEED || Math.floor(Math.random() * 2 ** 31));
  if (!Number.isInteger(seed)) throw new Error(`FAULT_SEED is a whole number, not "${process.env.FAULT_SEED}".`);
  return seed;
}

import { type ModelOrder, policyText, type VersionPolicy, versionsOfPolicy } from '@onqueue/shared';
import type { ManagedVersion } from './managed-version.ts';

/** Whether a version is to be served, and if not, why. */
export type Verdict = { isWanted: true } | { isWanted: false; reason: string; by: 'operator' | 'policy' };

/** The order that holds for a version: its own before its model's. */
export function orderFor(
  { name, version }: { name: string; version: string },
  orders: readonly ModelOrder[],
): ModelOrder | undefined {
  const ofModel = orders.filter((order) => order.name === name);
  return ofModel.find((order) => order.version === version) ?? ofModel.find((order) => order.version === undefined);
}

/**
 * What operators want comes first; what they left open is for the policy. A version that failed gives up its place among the
 * latest, so that the one before it serves on; one that is asked for by name is wanted whatever the policy says.
 */
export function verdictsOf<Version extends ManagedVersion>(
  versions: readonly Version[],
  { orders, policy }: { orders: readonly ModelOrder[]; policy: VersionPolicy },
): Map<Version, Verdict> {
  const isLeftOut = (version: Version) =>
    version.watched?.status !== 'whole' ||
    version.failedFingerprint === version.watched.fingerprint ||
    orderFor(version, orders)?.want === 'unload';
  const chosen = versionsOfPolicy(
    policy,
    versions.filter((version) => !isLeftOut(version)).map(({ version }) => version),
  );
  return new Map(versions.map((version) => [version, verdictOf(version, { orders, policy, chosen })]));
}

function verdictOf(
  version: ManagedVersion,
  { orders, policy, chosen }: { orders: readonly ModelOrder[]; policy: VersionPolicy; chosen: readonly string[] },
): Verdict {
  const order = orderFor(version, orders);
  if (order?.want === 'unload') return { isWanted: false, reason: 'It was unloaded by an operator.', by: 'operator' };
  if (order?.want === 'load' && order.version !== undefined) return { isWanted: true };
  // One that failed is not in the way of others, and stays as it is, with its reason.
  const hasFailed = version.watched?.status === 'whole' && version.failedFingerprint === version.watched.fingerprint;
  if (chosen.includes(version.version) || hasFailed) return { isWanted: true };
  return { isWanted: false, reason: `The version policy of the model is: ${policyText(policy)}.`, by: 'policy' };
}

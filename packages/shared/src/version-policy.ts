import { z } from 'zod';
import { modelVersion } from './model-name.ts';
import { compareVersions } from './version-assignment.ts';

/** Which versions of a model are served: `models/<name>/policy.json`, or ONQUEUE_VERSION_POLICY where there is none. */
export const versionPolicy = z.discriminatedUnion('versions', [
  z.strictObject({ versions: z.literal('all') }),
  /** The newest ones that can be loaded, `count` of them. */
  z.strictObject({ versions: z.literal('latest'), count: z.number().int().min(1).max(100).default(1) }),
  z.strictObject({ versions: z.literal('pinned'), pinned: z.array(modelVersion).min(1).max(100) }),
]);
export type VersionPolicy = z.infer<typeof versionPolicy>;

/** `all`, `latest` or `latest:3`, as in the environment. */
export const versionPolicyText = z
  .string()
  .regex(/^(all|latest(:[1-9]\d?)?)$/, 'all, latest, or latest:N')
  .transform((text): VersionPolicy => {
    const [versions, count = '1'] = text.split(':');
    return versions === 'latest' ? { versions, count: Number(count) } : { versions: 'all' };
  });

/** Those of `versions` that the policy asks for. */
export function versionsOfPolicy(policy: VersionPolicy, versions: readonly string[]): string[] {
  if (policy.versions === 'all') return [...versions];
  if (policy.versions === 'pinned') return versions.filter((version) => policy.pinned.includes(version));
  return versions.toSorted((a, b) => compareVersions(b, a)).slice(0, policy.count);
}

/** In words, for the reason that a version is not served. */
export function policyText(policy: VersionPolicy): string {
  if (policy.versions === 'latest') return policy.count === 1 ? 'latest' : `latest ${policy.count}`;
  return policy.versions === 'pinned' ? `pinned to ${policy.pinned.join(', ')}` : 'all';
}

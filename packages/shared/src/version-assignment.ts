import type { ModelDescriptor } from './model-descriptor.ts';
import { Problem, type ProblemError } from './problems.ts';

/**
 * Which version serves a request: the one it pins, else the newest. The only place where that is decided.
 * Versions order as numbers do where they are numbers: 10 is newer than 9, 1.10 than 1.9.
 */
export function assignVersion(model: string, versions: readonly ModelDescriptor[], pinned?: string): ModelDescriptor {
  if (versions.length === 0) {
    throw unknownModel(model, [{ pointer: '/model', detail: `unknown model "${model}"` }]);
  }
  const newestFirst = versions.toSorted((a, b) => compareVersions(b.version, a.version));
  const chosen = pinned === undefined ? newestFirst[0] : newestFirst.find(({ version }) => version === pinned);
  if (!chosen) {
    const known = newestFirst.map(({ version }) => version).join(', ');
    throw new Problem('version_not_found', `Model "${model}" has no version "${pinned}"; it has ${known}.`, {
      errors: [{ pointer: '/version', detail: `unknown version "${pinned}"` }],
    });
  }
  return chosen;
}

/** `errors`: where in a body the name stands; a name in a path has no pointer. */
export function unknownModel(model: string, errors?: ProblemError[]): Problem {
  const detail = `There is no model "${model}". GET /models lists the models that are known.`;
  return new Problem('model_not_found', detail, errors === undefined ? {} : { errors });
}

export function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

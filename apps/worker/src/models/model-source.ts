/** A version as a repository lists it, without having opened its files. */
export interface ListedVersion {
  name: string;
  version: string;
  /** Another one whenever a file of it is another one; cheap: sizes and times, or what an object store says. */
  fingerprint: string;
}

export interface RepositoryListing {
  versions: ListedVersion[];
  /** `policy.json` of models that have one, as text. */
  policies: Map<string, string>;
  /** Whether there is nothing at all: an empty folder is what a file system leaves that is not mounted. */
  isEmpty: boolean;
}

/** Where models come from. */
export interface ModelSource {
  /** For messages; without credentials. */
  readonly location: string;
  /** In the order of names and versions. Rejects when the repository as a whole cannot be read. */
  list(): Promise<RepositoryListing>;
  /** The absolute path of a folder with the version's files, whole or not; a remote one is fetched first. */
  fetch(version: ListedVersion, options: { signal: AbortSignal }): Promise<string>;
}

/** A name whose folder is no model's or version's: hidden ones, among them those that tools copy into before they rename. */
export function isHidden(name: string): boolean {
  return name.startsWith('.');
}

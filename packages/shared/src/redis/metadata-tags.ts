import { createHash } from 'node:crypto';

/** Names of the values that a job has under indexed keys: short, whatever the values are. Equal names need not be equal values. */
export function metadataTags(metadata: Readonly<Record<string, unknown>>, indexed: readonly string[]): string[] {
  return indexed.filter((key) => Object.hasOwn(metadata, key)).map((key) => metadataTag(key, String(metadata[key])));
}

export function metadataTag(key: string, value: string): string {
  return createHash('sha1').update(`${key}\n${value}`).digest('base64url').slice(0, 16);
}

import { API_KEY_SCOPES, type ApiKeys, DEFAULT_TENANT, PLATFORM_ACTOR } from '@onqueue/shared';

export interface FirstKeyOptions {
  keys: Pick<ApiKeys, 'createFirst'>;
  /** To a person, and not to the log: this is the one time that a key is shown. */
  print: (text: string) => void;
}

/** Makes a key with which others can be made, where there is none. Of several APIs that start at once one does. */
export async function createFirstKey({ keys, print }: FirstKeyOptions): Promise<void> {
  const wanted = { tenant: DEFAULT_TENANT, name: 'first key', env: 'live', scopes: API_KEY_SCOPES, limits: {} };
  const issued = await keys.createFirst(wanted, PLATFORM_ACTOR);
  if (!issued) return;
  print(
    [
      '',
      'onqueue: there was no API key, so one was made. It may do everything, and is shown only now:',
      '',
      `  ${issued.text}`,
      '',
      'Make others with `onqueue keys create`, and revoke this one when you have them (docs/guides/authentication.md).',
      '',
    ].join('\n'),
  );
}

import { describe, expect, test } from '@jest/globals';
import { translateStoreError } from './store-error.ts';

describe('translateStoreError', () => {
  test.each([
    'Connection is closed.',
    "Stream isn't writeable and enableOfflineQueue options is false",
    'Command timed out',
    'Reached the max retries per request limit (which is 1). Refer to "maxRetriesPerRequest" option for details.',
    'connect ECONNREFUSED 127.0.0.1:6379',
    'read ECONNRESET',
    'LOADING Redis is loading the dataset in memory',
    "READONLY You can't write against a read only replica.",
    'MISCONF Redis is configured to save RDB snapshots',
    "Cluster isn't ready and enableOfflineQueue options is false",
  ])('takes "%s" for a store that is away', (message) => {
    expect(translateStoreError(new Error(message))).toMatchObject({
      code: 'storage_unavailable',
      status: 503,
      retryAfterS: 1,
    });
  });

  test.each([
    "OOM command not allowed when used memory > 'maxmemory'.",
    "ERR user_script:40: OOM command not allowed when used memory > 'maxmemory'. script: x",
  ])('takes "%s" for a store that is full', (message) => {
    expect(translateStoreError(new Error(message))).toMatchObject({ code: 'storage_full', status: 503 });
  });

  test.each([
    'NOPERM this user has no permissions to run the',
    'WRONGTYPE Operation against a key holding the wrong kind of value',
    'WRONGPASS invalid username-password pair or user is disabled.',
    'NOSCRIPT No matching script. Please use EVAL.',
    'ERR max number of clients reached',
    'ERR something that nobody has heard of',
  ])('takes the reply "%s" for a store that is not usable, which somebody has to look at', (message) => {
    const refusal = Object.assign(new Error(message), { name: 'ReplyError' });
    expect(translateStoreError(refusal)).toMatchObject({
      code: 'storage_unavailable',
      status: 503,
      retryAfterS: 5,
      needsOperator: true,
      cause: refusal,
    });
  });

  test('shows clients nothing of a reply, which may quote what was written', () => {
    const refusal = Object.assign(new Error("ERR unknown command, with args beginning with: 'canary'"), {
      name: 'ReplyError',
    });
    expect((translateStoreError(refusal) as Error).message).not.toContain('canary');
  });

  test('passes on what it does not know', () => {
    const bug = new Error('ERR wrong number of arguments');
    expect(translateStoreError(bug)).toBe(bug);
    expect(translateStoreError('text')).toBe('text');
  });
});

import { expect, test } from '@jest/globals';
import { Problem } from '@onqueue/shared';
import { createApiLogger } from './api-logger.ts';

/** As ioredis throws them: the command that failed, with all that it was to write. */
function replyError(): Error {
  const error = new Error('WRONGTYPE Operation against a key holding the wrong kind of value');
  return Object.assign(error, { name: 'ReplyError', command: { name: 'evalsha', args: ['canary-in-a-row'] } });
}

test.each([
  ['an error of the store', replyError()],
  ['a problem that has it for a cause', new Problem('internal_error', 'Something broke.', { cause: replyError() })],
])('the log tells of %s what happened, and never what was to be written', (_, err) => {
  const lines: string[] = [];
  createApiLogger('info', { write: (line) => lines.push(line) }).error({ err }, 'bug');
  expect(lines.join()).toContain('WRONGTYPE Operation');
  expect(lines.join()).toContain('api-logger.test');
  expect(lines.join()).not.toContain('canary');
});

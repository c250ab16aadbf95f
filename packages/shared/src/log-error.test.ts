import { expect, test } from '@jest/globals';
import { logError } from './log-error.ts';

test('says type, message and stack, and nothing else that an error carries', () => {
  const error = Object.assign(new TypeError('WRONGTYPE'), {
    code: 'E',
    command: { name: 'set', args: ['job', 'S3CR3T'] },
    input: 'S3CR3T',
  });
  const logged = logError(error);
  expect(logged).toEqual({ type: 'TypeError', message: 'WRONGTYPE', stack: error.stack });
  expect(JSON.stringify(logged)).not.toContain('S3CR3T');
});

test('appends messages and stacks of the causes, and nothing else of theirs', () => {
  const cause = Object.assign(new Error('ECONNREFUSED'), { command: { args: ['S3CR3T'] } });
  const error = new Error('Redis is away', { cause });
  const logged = logError(error);
  expect(logged).toEqual({
    type: 'Error',
    message: 'Redis is away: ECONNREFUSED',
    stack: `${error.stack}\ncaused by: ${cause.stack}`,
  });
  expect(JSON.stringify(logged)).not.toContain('S3CR3T');
});

test('comes to an end when causes go in a circle', () => {
  const error = new Error('a');
  error.cause = error;
  expect(logError(error).message).toBe('a: a: a: a: a');
});

test('finds the message of an error that stands for several', () => {
  const refused = (address: string) => new Error(`connect ECONNREFUSED ${address}`);
  const error = Object.assign(new AggregateError([refused('::1'), refused('127.0.0.1')]), { code: 'ECONNREFUSED' });
  expect(logError(error).message).toBe('connect ECONNREFUSED ::1, connect ECONNREFUSED 127.0.0.1');
  expect(logError(Object.assign(new Error(''), { code: 'EPIPE' })).message).toBe('EPIPE');
});

test.each([
  ['text', 'string', 'text'],
  [7, 'number', '7'],
  [undefined, 'undefined', 'undefined'],
  [null, 'object', 'null'],
  [{ message: 'plain', command: { args: ['S3CR3T'] } }, 'Object', 'plain'],
  [{}, 'Object', 'no message'],
])('takes what is no error: %p', (value, type, message) => {
  expect(logError(value)).toEqual({ type, message });
});

import { expect, test } from '@jest/globals';
import { checkSettings } from './settings-check.ts';

test('names every wrong setting in one line', () => {
  expect(() => checkSettings({ ONQUEUE_PORT: 'abc', ONQUEUE_ATTEMPTS: 'many' })).toThrow(
    /^The configuration is not valid [^\n]*: ONQUEUE_PORT: a whole number; ONQUEUE_ATTEMPTS: a whole number$/,
  );
});

test('lets pass what is right, and what is not set', () => {
  expect(() => checkSettings({ ONQUEUE_PORT: '8080', ONQUEUE_ATTEMPTS: '' })).not.toThrow();
});

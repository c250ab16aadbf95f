import { describe, expect, test } from '@jest/globals';
import { parseCacheControl } from './cache-control.ts';

describe('Cache-Control of a request', () => {
  test.each([
    [undefined, { mayReuse: true, mayKeep: true }],
    ['', { mayReuse: true, mayKeep: true }],
    ['max-age=60, no-transform', { mayReuse: true, mayKeep: true }],
    ['no-cache', { mayReuse: false, mayKeep: true }],
    ['max-age=0, No-Cache', { mayReuse: false, mayKeep: true }],
    ['no-store', { mayReuse: false, mayKeep: false }],
    ['no-cache,no-store', { mayReuse: false, mayKeep: false }],
    ['x-no-store', { mayReuse: true, mayKeep: true }],
  ])('%j', (header, wish) => expect(parseCacheControl(header)).toEqual(wish));
});

import { describe, expect, test } from '@jest/globals';
import { parseDurationS } from './duration.ts';

describe('a duration', () => {
  test.each([
    ['90', 90],
    ['90s', 90],
    ['1m', 60],
    ['1h30m', 5400],
    ['2d1h1m1s', 176_461],
    [' 5m ', 300],
    ['0', 0],
  ])('%s is %d s', (text, seconds) => {
    expect(parseDurationS(text)).toBe(seconds);
  });

  test.each(['', ' ', 'm', '1.5m', '-1m', '1m1h', '1 m', 'PT1M', '1w', '9999999m'])('%j is none', (text) => {
    expect(parseDurationS(text)).toBeUndefined();
  });
});

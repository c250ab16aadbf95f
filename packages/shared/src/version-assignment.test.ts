import { describe, expect, test } from '@jest/globals';
import type { ModelDescriptor } from './model-descriptor.ts';
import { assignVersion } from './version-assignment.ts';

const versions = (...names: string[]) => names.map((version) => ({ version }) as ModelDescriptor);

describe('assignVersion', () => {
  test('takes the newest when none is pinned, numbers in the order of numbers', () => {
    expect(assignVersion('m', versions('2', '10', '9')).version).toBe('10');
    expect(assignVersion('m', versions('1.9', '1.10')).version).toBe('1.10');
  });

  test('takes the pinned one', () => {
    expect(assignVersion('m', versions('1', '2'), '1').version).toBe('1');
  });

  test('tells an unknown version from an unknown model', () => {
    expect(() => assignVersion('m', versions('1'), '3')).toThrow(
      expect.objectContaining({ code: 'version_not_found', message: 'Model "m" has no version "3"; it has 1.' }),
    );
    expect(() => assignVersion('m', [])).toThrow(expect.objectContaining({ code: 'model_not_found' }));
  });
});

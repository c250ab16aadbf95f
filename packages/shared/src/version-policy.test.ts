import { expect, test } from '@jest/globals';
import { servingPolicy } from './serving-policy.ts';
import { versionPolicy, versionPolicyText, versionsOfPolicy } from './version-policy.ts';

const versions = ['1', '10', '9'];

test('all, the latest by number, or those that are named', () => {
  const of = (text: unknown) => versionsOfPolicy(versionPolicy.parse(text), versions);
  expect(of({ versions: 'all' })).toEqual(versions);
  expect(of({ versions: 'latest' })).toEqual(['10']);
  expect(of({ versions: 'latest', count: 2 })).toEqual(['10', '9']);
  expect(of({ versions: 'pinned', pinned: ['9', '77'] })).toEqual(['9']);
});

test('a policy that says something else is refused', () => {
  for (const wrong of [
    { versions: 'newest' },
    { versions: 'latest', count: 0 },
    { versions: 'pinned', pinned: [] },
    { versions: 'all', count: 1 },
    ['1'],
  ]) {
    expect(versionPolicy.safeParse(wrong).success).toBe(false);
  }
});

test('the setting says all, latest or latest:N', () => {
  expect(versionPolicyText.parse('all')).toEqual({ versions: 'all' });
  expect(versionPolicyText.parse('latest')).toEqual({ versions: 'latest', count: 1 });
  expect(versionPolicyText.parse('latest:12')).toEqual({ versions: 'latest', count: 12 });
  for (const wrong of ['', 'latest:0', 'latest:', 'latest:100', 'pinned:1', '2']) {
    expect(versionPolicyText.safeParse(wrong).success).toBe(false);
  }
});

test('min_instances are of versions that are on_demand, and no more than there are instances', () => {
  expect(servingPolicy.safeParse({ on_demand: true, instances: 4, min_instances: 4 }).success).toBe(true);
  expect(servingPolicy.safeParse({ on_demand: true, instances: 4, min_instances: 5 }).success).toBe(false);
  expect(servingPolicy.safeParse({ instances: 4, min_instances: 1 }).success).toBe(false);
  expect(servingPolicy.safeParse({ instances: 0 }).success).toBe(false);
  expect(servingPolicy.safeParse({ instances: 65 }).success).toBe(false);
});

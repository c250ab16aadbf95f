import { expect, test } from '@jest/globals';
import { nodeVersionProblem } from './node-version.mjs';

test('accepts Node 20.19 and newer', () => {
  for (const version of ['v20.19.0', 'v20.20.2', 'v22.0.0', 'v24.1.0-nightly'])
    expect(nodeVersionProblem(version)).toBeNull();
});

test('says in one line what an older Node has to become', () => {
  expect(nodeVersionProblem('v18.20.8')).toBe(
    "onqueue needs Node 20.19 or newer; this is v18.20.8. Install it from https://nodejs.org or with 'nvm install 20'.",
  );
  expect(nodeVersionProblem('v20.18.3')).toContain('this is v20.18.3');
});

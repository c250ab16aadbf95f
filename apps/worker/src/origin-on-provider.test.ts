import { expect, test } from '@jest/globals';
import type { Origin } from '@onqueue/shared';
import { originOn } from './origin-on-provider.ts';

const ON_CUDA: Origin = {
  model: 'fraud',
  version: '1',
  artifact_sha256: 'a',
  preprocess_sha256: 'p',
  decision_policy_sha256: 'd',
  runtime: { name: 'onnxruntime-node', version: '1.30.0' },
  execution_provider: 'cuda',
};

test('a result names the provider that computed it, also where that is not the one of the version', () => {
  expect(originOn('cpu', ON_CUDA)).toEqual({ ...ON_CUDA, execution_provider: 'cpu' });
});

test('there is one origin for each provider, since its digest is kept with the object', () => {
  expect(originOn('cuda', ON_CUDA)).toBe(ON_CUDA);
  expect(originOn(undefined, ON_CUDA)).toBe(ON_CUDA);
  expect(originOn('cpu', ON_CUDA)).toBe(originOn('cpu', ON_CUDA));
});

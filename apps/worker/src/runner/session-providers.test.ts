import { expect, test } from '@jest/globals';
import { isCpuAlone, sessionProviders } from './session-providers.ts';

test('a session is asked for the providers in their order, and without a device for none', () => {
  expect(sessionProviders(['tensorrt', 'cuda', 'cpu'], undefined)).toEqual(['tensorrt', 'cuda', 'cpu']);
});

test('each provider that has devices is pinned to the one that it is told', () => {
  expect(sessionProviders(['tensorrt', 'cuda', 'cpu'], 1)).toEqual([
    { name: 'tensorrt', deviceId: 1 },
    { name: 'cuda', deviceId: 1 },
    'cpu',
  ]);
  expect(sessionProviders(['dml'], 0)).toEqual([{ name: 'dml', deviceId: 0 }]);
});

test.each(['webgpu', 'coreml'] as const)('%s is refused with a device, since none can be chosen', (name) => {
  expect(() => sessionProviders([name], 0)).toThrow('Device 0 cannot be chosen');
});

test('tells a list that leaves nothing but the cpu', () => {
  expect(isCpuAlone(['cpu'])).toBe(true);
  expect(isCpuAlone(['cuda', 'cpu'])).toBe(false);
});

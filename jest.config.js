import { availableParallelism } from 'node:os';

const swc = {
  jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
  module: { type: 'es6' },
  sourceMaps: 'inline',
};

const project = (displayName, testMatch, extra = {}) => ({
  displayName,
  testMatch,
  testEnvironment: '<rootDir>/test/support/jest-environment.js',
  testEnvironmentOptions: { customExportConditions: ['@onqueue/source', 'node', 'node-addons'] },
  transform: { '^.+\\.ts$': ['@swc/jest', swc] },
  extensionsToTreatAsEsm: ['.ts'],
  modulePathIgnorePatterns: ['/dist/', '/.onqueue/'],
  ...extra,
});

/** Unit tests stand beside the code; everything that starts a Redis or a process of the platform stands in test/. */
export default {
  // Tests mostly wait for processes that they have started: three at once hardly disturb each other, also on two cores.
  maxWorkers: Math.max(3, availableParallelism() - 1),
  globalSetup: '<rootDir>/test/support/global-setup.js',
  testTimeout: 180_000,
  projects: [
    project('unit', ['<rootDir>/{apps,packages,bench}/**/src/**/*.test.ts', '<rootDir>/scripts/**/*.test.ts']),
    project('integration', ['<rootDir>/test/**/*.test.ts']),
  ],
};

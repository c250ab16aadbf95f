import { renderConfiguration } from './configuration.mjs';
import { renderProblems } from './problems.mjs';

/**
 * The documents that are written by a program, by their path in the repository.
 *
 * @param {Pick<typeof import('@onqueue/shared'), 'SETTINGS' | 'PROBLEMS' | 'ROW_ERRORS' | 'JOB_ERRORS'>} tables
 * @returns {Record<string, string>}
 */
export function generatedDocs({ SETTINGS, PROBLEMS, ROW_ERRORS, JOB_ERRORS }) {
  return {
    'docs/configuration.md': renderConfiguration(SETTINGS),
    'docs/problems.md': renderProblems(PROBLEMS, ROW_ERRORS, JOB_ERRORS),
  };
}

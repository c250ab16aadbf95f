import { type Config, ConfigError, loadConfig, unknownSettings } from '@onqueue/shared';
import type { Finding } from './finding.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The settings that processes started here would have; undefined when they would not start. */
export function checkSettings(env: Env): { config: Config | undefined; findings: Finding[] } {
  const findings: Finding[] = unknownSettings(env).map((name) => ({
    check: 'settings',
    status: 'warning',
    message: `${name} is no setting; nothing reads it`,
    remedy: 'Look for the right name in docs/configuration.md, or unset it.',
  }));
  try {
    const config = loadConfig(env);
    if (findings.length === 0) findings.push({ check: 'settings', status: 'ok', message: 'all are valid' });
    return { config, findings };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const remedy = 'Mend them: API and worker do not start like this. What else depends on settings was not looked at.';
    return {
      config: undefined,
      findings: [...findings, { check: 'settings', status: 'error', message: error.message, remedy }],
    };
  }
}

const MINIMUM_NODE = [20, 19] as const;

export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isOld = major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1]);
  if (!isOld) return { check: 'node', status: 'ok', message: version };
  const remedy = `Install Node.js ${MINIMUM_NODE.join('.')} or newer: https://nodejs.org`;
  return { check: 'node', status: 'error', message: `${version} is too old`, remedy };
}

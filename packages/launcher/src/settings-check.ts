import { ConfigError, loadConfig } from '@onqueue/shared';
import { LaunchError } from './launch-error.ts';

/**
 * Reads the settings as the processes will: what is wrong with them is told once and before anything is started, not by
 * each process when it ends.
 * @throws LaunchError that names every wrong variable.
 */
export function checkSettings(env: Readonly<Record<string, string | undefined>>): void {
  try {
    loadConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [what, ...faults] = error.message.split('\n').map((line) => line.trim());
    throw new LaunchError(`${what} ${faults.join('; ')}`, { cause: error });
  }
}

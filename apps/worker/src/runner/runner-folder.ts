import { rmdirSync } from 'node:fs';

/**
 * Removes the empty folder that a runner was started in, for the case that its supervisor is not there any more to do
 * it. A folder that is not empty stays, for whoever wants to know why.
 */
export function removeOwnFolder(): void {
  try {
    rmdirSync(process.cwd());
  } catch {
    // Gone already, or not empty.
  }
}

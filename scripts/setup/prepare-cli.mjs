import { ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm-packages.mjs';
import { SetupError } from './setup-error.mjs';

/** Installs and compiles what the command line needs and is not there yet; what it says must not mix with `--json`. */
export async function prepareCli() {
  try {
    await ensureNpmPackages({ say: console.error });
    await ensureBuild(['packages/cli'], { say: console.error });
    return true;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
    return false;
  }
}

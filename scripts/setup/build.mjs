import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { repoRoot } from './repo-root.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * Compiles what has changed in the projects that a command runs; a fraction of a second when nothing has. The types of
 * the tests are no business of who wants to start the platform, so this is not `tsc -b` over everything.
 *
 * @param {readonly string[]} projects
 * @param {{root?: string, run?: typeof runCommand, say?: (line: string) => void}} [ports]
 */
export async function ensureBuild(projects, { root = repoRoot, run = runCommand, say = console.log } = {}) {
  const wasBuilt = await access(join(root, 'packages', 'launcher', 'dist')).then(
    () => true,
    () => false,
  );
  if (!wasBuilt) say('Compiling (tsc -b): there is no build yet…');
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { code, stdout, stderr } = await run(process.execPath, [compiler, '-b', ...projects], { cwd: root });
  if (code !== 0)
    throw new SetupError(
      `${stdout}${stderr}The code does not compile (tsc -b ${projects.join(' ')}); the lines above say where.`,
    );
}

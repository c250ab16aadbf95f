import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Integration tests start the built API, worker and runner: build them first (incremental, under a second when fresh). */
export default function globalSetup() {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-b'], { cwd: root, stdio: 'inherit' });
}

import { repoRoot } from '../repo-root.ts';
import { start } from '../start.ts';

process.exitCode = await start({
  args: process.argv.slice(2),
  env: process.env,
  rootDir: repoRoot,
  print: (text) => console.log(text),
  printError: (text) => console.error(text),
  signals: process,
});

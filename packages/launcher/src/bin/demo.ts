import { demo } from '../demo/demo.ts';
import { repoRoot } from '../repo-root.ts';

process.exitCode = await demo({
  args: process.argv.slice(2),
  env: process.env,
  rootDir: repoRoot,
  print: (text) => console.log(text),
  printError: (text) => console.error(text),
  signals: process,
});

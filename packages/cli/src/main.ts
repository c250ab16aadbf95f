import { text } from 'node:stream/consumers';
import { runCli } from './cli.ts';
import { showProgress } from './progress.ts';

// Whoever reads us has heard enough: `onqueue jobs list | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const { stdin, stderr } = process;
const progress = stderr.isTTY ? showProgress(stderr) : undefined;
process.exitCode = await runCli({
  args: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  print: (line) => {
    progress?.clear();
    console.log(line);
  },
  printError: (line) => {
    progress?.clear();
    console.error(line);
  },
  progress: progress?.show,
  readInput: stdin.isTTY ? undefined : () => text(stdin),
});
progress?.clear();

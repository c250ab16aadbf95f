import { text } from 'node:stream/consumers';
import { runCli } from './cli.ts';
import { Interruption } from './interruption.ts';
import { showProgress } from './progress.ts';

const interruption = new Interruption(process);
// Whoever reads us has heard enough: `onqueue jobs list | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  if (!interruption.interrupt()) process.exit(0);
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
  interrupted: () => interruption.wait(),
});
progress?.clear();

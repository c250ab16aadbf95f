import { parseArgs } from 'node:util';

/** What was asked for on the command line. */
export interface BenchCommand {
  /** Undefined: show the list. */
  name: string | undefined;
  isJson: boolean;
  isHelp: boolean;
  rounds: number;
}

/** A median needs an odd handful; more than this and a bench is no longer a matter of minutes. */
const DEFAULT_ROUNDS = 5;
const MAX_ROUNDS = 100;

/** The command line is wrong; the message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** @throws UsageError */
export function parseCommandLine(args: readonly string[]): BenchCommand {
  const { values, positionals } = parse(args);
  if (positionals.length > 1) throw new UsageError(`One bench at a time, not ${positionals.join(' and ')}.`);
  const { rounds = String(DEFAULT_ROUNDS) } = values;
  if (!/^\d+$/.test(rounds) || Number(rounds) < 1 || Number(rounds) > MAX_ROUNDS) {
    throw new UsageError(`--rounds is a whole number from 1 to ${MAX_ROUNDS}, not '${rounds}'.`);
  }
  return {
    name: positionals[0],
    isJson: values.json === true,
    isHelp: values.help === true,
    rounds: Number(rounds),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        rounds: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** The help, with one line a bench. */
export function usage(benches: readonly { name: string; summary: string }[]): string {
  const width = Math.max(...benches.map(({ name }) => name.length));
  return [
    'npm run bench -- <name> [--json] [--rounds n]',
    '',
    ...benches.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    `  --json      the last line of stdout is {"bench", "figures", "spread", "rounds"}`,
    `  --rounds n  how often everything is measured (default ${DEFAULT_ROUNDS}, at most ${MAX_ROUNDS}); the median counts`,
    '',
    'Everything runs on this machine, with private Redis servers that end with the bench. See bench/README.md.',
  ].join('\n');
}

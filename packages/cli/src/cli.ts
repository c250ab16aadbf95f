import { Command, CommanderError } from 'commander';
import type { CliContext } from './cli-context.ts';
import { CliError, EXIT } from './cli-error.ts';
import { auditCommand } from './commands/audit.ts';
import { doctorCommand } from './commands/doctor.ts';
import { jobsCommand } from './commands/jobs.ts';
import { keysCommand } from './commands/keys.ts';
import { modelsCommand } from './commands/models.ts';
import { queuesCommand } from './commands/queues.ts';
import { tenantsCommand } from './commands/tenants.ts';
import { webhooksCommand } from './commands/webhooks.ts';

/** Runs one command line and resolves with its exit code; never rejects for what a user can mend. */
export async function runCli(context: CliContext): Promise<number> {
  const { args, print, printError } = context;
  const program = new Command('onqueue')
    .description('Asynchronous inference for ONNX models.')
    .configureOutput({ writeOut: (text) => print(text.trimEnd()), writeErr: (text) => printError(text.trimEnd()) })
    .showHelpAfterError('(--help lists what there is)')
    .exitOverride()
    .addHelpText('after', HELP)
    .addCommand(jobsCommand(context))
    .addCommand(queuesCommand(context))
    .addCommand(modelsCommand(context))
    .addCommand(keysCommand(context))
    .addCommand(tenantsCommand(context))
    .addCommand(auditCommand(context))
    .addCommand(webhooksCommand(context))
    .addCommand(doctorCommand(context));
  inherit(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (!(error instanceof CliError)) throw error;
    if (error.message === '') return error.exitCode;
    if (args.includes('--json')) print(JSON.stringify({ error: error.message, ...error.details }, null, 2));
    else printError(error.message);
    return error.exitCode;
  }
}

/** Commands that are built apart know nothing of how the program prints and ends. */
function inherit(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    inherit(command);
  }
}

const HELP = `
Every command takes --json. Exit codes: 0 done, 1 it did not work out, 2 the command line was not understood,
3 the job has not succeeded, 4 the time to wait is over, 5 the API cannot be reached or is overloaded.`;

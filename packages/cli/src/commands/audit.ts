import { auditEntry } from '@onqueue/shared';
import { Command } from 'commander';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import { auditChains, readChain, verifyChain } from '../audit/verify-audit.ts';
import type { CliContext } from '../cli-context.ts';
import { CliError } from '../cli-error.ts';

/** `onqueue audit …`: who did what, and whether the log of it is whole. */
export function auditCommand(context: CliContext): Command {
  const { print } = context;
  const audit = new Command('audit').description('Read the audit log, and check it. Needs a key with the scope admin.');

  withApi(audit.command('list', { isDefault: true }), context)
    .description('Show every line, chain by chain, the oldest first. With --json one JSON object a line.')
    .option('--chain <name>', 'only this one')
    .action(async (options: ApiOptions & { chain?: string }) => {
      const api = apiOf(options);
      for (const chain of options.chain === undefined ? await auditChains(api) : [options.chain]) {
        for (const { text } of (await readChain(api, chain)).lines) print(options.json ? text : lineText(text));
      }
    });

  withApi(audit.command('verify'), context)
    .description('Check that no line of the audit log was changed, removed or moved.')
    .option('--known <hash>', 'of the newest line at an earlier check: it must still be there')
    .addHelpText('after', '\nExit code 1: it is not whole. Note the hashes that it prints elsewhere than in Redis.')
    .action(async (options: ApiOptions & { known?: string }) => {
      const api = apiOf(options);
      const reports = [];
      for (const chain of await auditChains(api)) reports.push(await verifyChain(api, chain));
      const isKnown = options.known === undefined || reports.some(({ hashes }) => hashes.has(options.known ?? ''));
      const faults = [
        ...reports.flatMap(({ chain, faults }) => faults.map((fault) => `${chain}: ${fault}`)),
        ...(isKnown ? [] : [`no line has the hash ${options.known}`]),
      ];
      if (options.json) {
        const chains = reports.map(({ hashes: _, ...report }) => report);
        print(JSON.stringify({ ok: faults.length === 0, chains, faults }, null, 2));
      } else {
        for (const { chain, lines, head } of reports) print(`${chain}: ${lines} lines, the newest ${head.hash}`);
        for (const fault of faults) print(fault);
        if (faults.length === 0) print('The audit log is whole.');
      }
      if (faults.length > 0) throw new CliError('');
    });

  return audit;
}

function lineText(text: string): string {
  const { data } = auditEntry.safeParse(jsonOf(text));
  if (!data) return text;
  const { seq: _, at_ms, action, request_id, key, previous: __, ...about } = data;
  const details = Object.entries(about).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [new Date(at_ms).toISOString(), action, ...details, `by=${key ?? '-'}`, `request=${request_id}`].join('  ');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

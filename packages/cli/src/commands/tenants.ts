import { Command } from 'commander';
import { z } from 'zod';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import type { CliContext } from '../cli-context.ts';
import { durationS, keyValue, number } from '../option-parsers.ts';
import { tableText } from '../table-text.ts';

/** `onqueue tenants …`: whose jobs there are, and what was agreed with them. */
export function tenantsCommand(context: CliContext): Command {
  const { print } = context;
  const tenants = new Command('tenants').description(
    'Make, list, change and delete tenants. Needs a key with the scope admin.',
  );
  const show = ({ json }: ApiOptions, tenant: ShownTenant) =>
    print(json ? JSON.stringify(tenant, null, 2) : tenantsText([tenant]));

  withApi(tenants.command('list', { isDefault: true }), context)
    .description('List the tenants.')
    .action(async (options: ApiOptions) => {
      const { data } = await apiOf(options).ask(tenantList, 'GET', '/admin/tenants');
      print(options.json ? JSON.stringify(data, null, 2) : tenantsText(data));
    });

  withSettings(withApi(tenants.command('create'), context))
    .description('Make a tenant.')
    .argument('<id>', 'of a-z, 0-9, _ and -; it never changes')
    .action(async (id: string, options: SettingsOptions) => {
      show(
        options,
        await apiOf(options).ask(shownTenant, 'POST', '/admin/tenants', { body: { id, ...settingsOf(options) } }),
      );
    });

  withSettings(withApi(tenants.command('update'), context))
    .description('Change a tenant. Quotas and storage are replaced as a whole.')
    .argument('<id>')
    .action(async (id: string, options: SettingsOptions) => {
      show(options, await apiOf(options).ask(shownTenant, 'PATCH', pathOf(id), { body: settingsOf(options) }));
    });

  withApi(tenants.command('delete'), context)
    .description('Delete a tenant that has no keys which can be used.')
    .argument('<id>')
    .action(async (id: string, options: ApiOptions) => {
      await apiOf(options).request('DELETE', pathOf(id));
      print(options.json ? JSON.stringify({ id, deleted: true }, null, 2) : `${id} is deleted.`);
    });

  return tenants;
}

function withSettings(command: Command): Command {
  return command
    .option('--name <text>', 'for people')
    .option('--weight <number>', 'of its share where others wait too', number)
    .option('--retention <duration>', 'that its jobs are kept after their end', durationS)
    .option(
      '--quota <name=number>',
      'jobs_per_day, rows_per_day, max_concurrent_jobs or max_queued_rows; may be given again',
      keyValue,
    )
    .option('--storage <name=number>', 'max_files or max_files_bytes; may be given again', keyValue);
}

interface SettingsOptions extends ApiOptions {
  name?: string;
  weight?: number;
  retention?: number;
  quota?: Record<string, string>;
  storage?: Record<string, string>;
}

function settingsOf({ name, weight, retention, quota, storage }: SettingsOptions) {
  return {
    name,
    weight,
    retention_s: retention,
    quotas: quota && numbersOf(quota),
    storage: storage && numbersOf(storage),
  };
}

function numbersOf(values: Record<string, string>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, text]) => [name, number(text)]));
}

const pathOf = (id: string) => `/admin/tenants/${encodeURIComponent(id)}`;

const shownTenant = z.looseObject({
  id: z.string(),
  name: z.string(),
  weight: z.number(),
  retention_s: z.number().nullable(),
  quotas: z.record(z.string(), z.number()),
});
type ShownTenant = z.infer<typeof shownTenant>;
const tenantList = z.looseObject({ data: z.array(shownTenant) });

function tenantsText(tenants: ShownTenant[]): string {
  const rows = tenants.map(({ id, weight, retention_s, quotas, name }) => [
    id,
    String(weight),
    retention_s === null ? 'as configured' : `${retention_s} s`,
    Object.entries(quotas)
      .map(([quota, value]) => `${quota}=${value}`)
      .join(' '),
    name,
  ]);
  return tableText([['id', 'weight', 'retention', 'quotas', 'name'], ...rows]);
}

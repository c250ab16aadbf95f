import { API_KEY_SCOPES } from '@onqueue/shared';
import { Command } from 'commander';
import { z } from 'zod';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import type { CliContext } from '../cli-context.ts';
import { durationS, list, number, wholeNumber } from '../option-parsers.ts';
import { tableText } from '../table-text.ts';

/** `onqueue keys …`: who may ask the API. */
export function keysCommand(context: CliContext): Command {
  const { print } = context;
  const keys = new Command('keys').description(
    'Make, list, rotate and revoke API keys. Needs a key with the scope admin.',
  );
  const showIssued = ({ json }: ApiOptions, issued: z.infer<typeof issuedKey>) =>
    print(json ? JSON.stringify(issued, null, 2) : `${issued.key}\n\nIt is shown only now. Its id is ${issued.id}.`);

  withApi(keys.command('list', { isDefault: true }), context)
    .description('List API keys, also those that are revoked.')
    .option('--tenant <id>', 'of this tenant only')
    .action(async (options: ApiOptions & { tenant?: string }) => {
      const { data } = await apiOf(options).ask(keyList, 'GET', '/admin/keys', { query: { tenant: options.tenant } });
      print(options.json ? JSON.stringify(data, null, 2) : keysText(data));
    });

  withApi(keys.command('create'), context)
    .description('Make a key and show it, this once.')
    .option('--tenant <id>', 'whose data it is for; the default one unless given')
    .option('--name <text>', 'for people')
    .option('--scopes <list>', `of ${API_KEY_SCOPES.join(', ')}, separated by commas; read,write unless given`, list)
    .option('--env <word>', 'a word in the text of the key, for people; live unless given')
    .option('--expires-in <duration>', 'after which it ends to work; never unless given', durationS)
    .option('--rows-per-s <number>', 'rows a second that may come with it', number)
    .option('--burst-rows <number>', 'rows that may come at once', wholeNumber)
    .action(async (options: CreateOptions) => {
      const { tenant, name, scopes, env, expiresIn, rowsPerS, burstRows } = options;
      const expires_at = expiresIn === undefined ? undefined : new Date(Date.now() + expiresIn * 1000).toISOString();
      const limits = { rows_per_s: rowsPerS, burst_rows: burstRows };
      const body = { tenant, name, scopes, env, expires_at, limits };
      showIssued(options, await apiOf(options).ask(issuedKey, 'POST', '/admin/keys', { body }));
    });

  withApi(keys.command('rotate'), context)
    .description('Give a key a new secret and show it, this once. The one before goes on for a while.')
    .argument('<id>')
    .option('--overlap <duration>', 'for which the secret before goes on', durationS)
    .action(async (id: string, options: ApiOptions & { overlap?: number }) => {
      const body = { overlap_s: options.overlap };
      showIssued(options, await apiOf(options).ask(issuedKey, 'POST', `${pathOf(id)}/rotate`, { body }));
    });

  withApi(keys.command('revoke'), context)
    .description('End a key, for good.')
    .argument('<id>')
    .action(async (id: string, options: ApiOptions) => {
      const revoked = await apiOf(options).ask(shownKey, 'DELETE', pathOf(id));
      print(options.json ? JSON.stringify(revoked, null, 2) : `${id} is revoked.`);
    });

  return keys;
}

interface CreateOptions extends ApiOptions {
  tenant?: string;
  name?: string;
  scopes?: string[];
  env?: string;
  expiresIn?: number;
  rowsPerS?: number;
  burstRows?: number;
}

const pathOf = (id: string) => `/admin/keys/${encodeURIComponent(id)}`;

const shownKey = z.looseObject({
  id: z.string(),
  tenant: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  last_used_at: z.string().nullable(),
});
const issuedKey = shownKey.extend({ key: z.string() });
const keyList = z.looseObject({ data: z.array(shownKey) });

function keysText(keys: z.infer<typeof shownKey>[]): string {
  if (keys.length === 0) return 'There is no key.';
  const rows = keys.map((key) => [
    key.id,
    key.tenant,
    key.scopes.join(','),
    key.revoked_at ? 'revoked' : key.expires_at ? `until ${key.expires_at}` : '',
    key.last_used_at ?? 'never',
    key.name,
  ]);
  return tableText([['id', 'tenant', 'scopes', 'ends', 'last used', 'name'], ...rows]);
}

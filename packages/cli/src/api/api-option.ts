import { type Command, Option } from 'commander';
import type { CliContext } from '../cli-context.ts';
import { CliError, EXIT } from '../cli-error.ts';
import { ApiClient } from './api-client.ts';

export interface ApiOptions {
  apiUrl: string;
  key?: string;
  json?: boolean;
}

const DEFAULT_PORT = '8080';

/** Where the API is, and how the answer is wanted: the options of every command that asks it. */
export function withApi(command: Command, { env }: CliContext): Command {
  return (
    command
      .option(
        '--api-url <url>',
        'of the API',
        env.ONQUEUE_API_URL || `http://127.0.0.1:${env.ONQUEUE_PORT || DEFAULT_PORT}`,
      )
      // The help shows where the key comes from, and never the key.
      .addOption(new Option('--key <key>', 'an API key').default(env.ONQUEUE_API_KEY || undefined, 'ONQUEUE_API_KEY'))
      .option('--json', 'tell it as JSON')
  );
}

/** @throws CliError for a URL that is none */
export function apiOf({ apiUrl, key }: ApiOptions): ApiClient {
  if (!/^https?:\/\//.test(apiUrl) || !URL.canParse(apiUrl)) {
    throw new CliError(`"${apiUrl}" is no URL of an API, such as http://127.0.0.1:8080.`, { exitCode: EXIT.usage });
  }
  return new ApiClient({ baseUrl: apiUrl, key });
}

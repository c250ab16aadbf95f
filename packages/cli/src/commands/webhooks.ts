import { eventType, parseWebhookSecret, type WebhookSecret } from '@onqueue/shared';
import { Command, InvalidArgumentError } from 'commander';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import type { CliContext } from '../cli-context.ts';
import { CliError, EXIT } from '../cli-error.ts';
import { createDeliveryListener } from '../webhooks/delivery-listener.ts';
import { openDeliveryReceiver } from '../webhooks/delivery-receiver.ts';
import { deliveryText } from '../webhooks/shown-delivery.ts';
import { deleteEndpoint, registerEndpoint, type TemporaryEndpoint } from '../webhooks/temporary-endpoint.ts';

/** `onqueue webhooks …`: for whoever writes a receiver. */
export function webhooksCommand(context: CliContext): Command {
  const { print, printError, interrupted } = context;
  const webhooks = new Command('webhooks').description('Have events come to this machine while you write a receiver.');

  withApi(webhooks.command('listen'), context)
    .description('Show deliveries as they come, until Ctrl-C. With --json one JSON object a line.')
    .option('--forward-to <url>', 'hand them on to your receiver, and answer what it answers', httpUrl)
    .option('--secret <whsec>', 'one that your receiver knows: signs what is forwarded, too')
    .option('--events <types>', 'of these only, with commas; all unless given', eventTypes)
    .action(async (options: ListenOptions) => {
      const api = apiOf(options);
      const secret = options.secret === undefined ? undefined : secretOf(options.secret);
      // Before there is anything to clean up.
      const ended = interrupted();
      let resolveSecrets: (secrets: WebhookSecret[]) => void = () => {};
      const secrets = new Promise<WebhookSecret[]>((resolve) => {
        resolveSecrets = resolve;
      });
      const receiver = await openDeliveryReceiver(
        createDeliveryListener({
          secrets,
          forwardTo: options.forwardTo,
          forwardSecret: secret,
          onDelivery: (delivery) => print(options.json ? JSON.stringify(delivery) : deliveryText(delivery)),
        }),
      );
      try {
        const endpoint = await registerEndpoint(api, { url: receiver.url, events: options.events ?? EVENTS });
        try {
          resolveSecrets([parseWebhookSecret(endpoint.secret), ...(secret ? [secret] : [])]);
          print(options.json ? JSON.stringify(listenerView(endpoint, options)) : listenerText(endpoint, options));
          await ended;
        } finally {
          await deleteEndpoint(api, endpoint).catch((error: Error) => {
            printError(`${endpoint.id} is left behind, delete it with DELETE /webhooks/endpoints/${endpoint.id}.`);
            throw error;
          });
        }
      } finally {
        // Whatever came in before anybody could have signed it.
        resolveSecrets([]);
        await receiver.close();
      }
    });

  return webhooks;
}

interface ListenOptions extends ApiOptions {
  forwardTo?: string;
  secret?: string;
  events?: string[];
}

/** A test of an endpoint comes to it whatever it wants. */
const EVENTS = eventType.options.filter((type) => type !== 'endpoint.test');

function eventTypes(text: string): string[] {
  const types = [...new Set(text.split(',').map((type) => type.trim()))];
  const unknown = types.filter((type) => !EVENTS.some((known) => known === type));
  if (unknown.length > 0) throw new InvalidArgumentError(`There are ${EVENTS.join(', ')}.`);
  return types;
}

function httpUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text;
  throw new InvalidArgumentError('It is a URL such as http://localhost:3000/hooks.');
}

/** Not by a parser of the option, whose error would quote it. @throws CliError */
function secretOf(text: string): WebhookSecret {
  try {
    return parseWebhookSecret(text);
  } catch (cause) {
    throw new CliError(`--secret: ${(cause as Error).message}.`, { exitCode: EXIT.usage, cause });
  }
}

function listenerView({ id, url, secret }: TemporaryEndpoint, { forwardTo }: ListenOptions): object {
  return { object: 'listener', endpoint_id: id, url, secret, forward_to: forwardTo ?? null };
}

function listenerText({ id, secret }: TemporaryEndpoint, { forwardTo }: ListenOptions): string {
  const way = forwardTo === undefined ? 'shown here' : `forwarded to ${forwardTo}`;
  return `Events are ${way} until Ctrl-C. They come to the endpoint ${id} and are signed with ${secret}`;
}

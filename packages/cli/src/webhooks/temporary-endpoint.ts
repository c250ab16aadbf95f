import { hostname } from 'node:os';
import { z } from 'zod';
import { type ApiClient, ApiError } from '../api/api-client.ts';
import { CliError } from '../cli-error.ts';

const registered = z.looseObject({ id: z.string(), url: z.string(), secret: z.string() });
export type TemporaryEndpoint = z.infer<typeof registered>;

const refusal = z.object({ problem: z.object({ errors: z.array(z.object({ pointer: z.string() })) }) });

const HINT =
  'Deliveries come to this machine when API and workers run with ONQUEUE_WEBHOOK_ALLOW_HTTP=true and ONQUEUE_WEBHOOK_ALLOW_CIDRS=127.0.0.0/8.';

/** Has the API send events here for a time. @throws ApiError, CliError */
export async function registerEndpoint(
  api: ApiClient,
  { url, events }: { url: string; events: readonly string[] },
): Promise<TemporaryEndpoint> {
  const description = `onqueue webhooks listen on ${hostname()}`.slice(0, 200);
  try {
    return await api.ask(registered, 'POST', '/webhooks/endpoints', { body: { url, events, description } });
  } catch (error) {
    if (!(error instanceof ApiError) || !isAboutUrl(error)) throw error;
    throw new CliError(`${error.message}\n${HINT}`, { exitCode: error.exitCode, details: error.details, cause: error });
  }
}

/** Somebody else may have deleted it. @throws ApiError */
export async function deleteEndpoint(api: ApiClient, { id }: TemporaryEndpoint): Promise<void> {
  await api.request('DELETE', `/webhooks/endpoints/${encodeURIComponent(id)}`).catch((error: unknown) => {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
  });
}

function isAboutUrl({ details }: ApiError): boolean {
  const { data } = refusal.safeParse(details);
  return data?.problem.errors.some(({ pointer }) => pointer === '/url') ?? false;
}

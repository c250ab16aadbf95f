import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LaunchError } from './launch-error.ts';

/** A secret as Standard Webhooks writes it: `whsec_` and the base64 of 32 random bytes. */
export function newWebhookSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}

/**
 * The secret in the file; made on the first call and then kept, so that receivers can go on verifying after a restart.
 * Only its owner may read the file.
 */
export async function keptWebhookSecret(file: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true });
  const secret = newWebhookSecret();
  try {
    await writeFile(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    return secret;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const kept = (await readFile(file, 'utf8')).trim();
  if (kept.startsWith('whsec_')) return kept;
  throw new LaunchError(`${file} holds no webhook secret (whsec_…). Delete the file and a new one is made.`);
}

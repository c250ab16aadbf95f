import { fileURLToPath } from 'node:url';

/** The repository's root: three levels up both from `packages/launcher/src` and from `packages/launcher/dist`. */
export const repoRoot = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

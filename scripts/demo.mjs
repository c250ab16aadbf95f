// npm run demo: starts a platform on port 8080, or a free one when that is taken, sends it jobs, shows what comes back, and stops it.
// An old Node must get as far as its error message: the rest is imported after the check.
import { requireNode } from './setup/node-version.mjs';

requireNode();
import('./setup/commands.mjs').then(({ demo }) => demo(process.argv.slice(2)));

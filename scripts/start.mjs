// npm start: runs the platform until Ctrl-C.
// An old Node must get as far as its error message: the rest is imported after the check.
import { requireNode } from './setup/node-version.mjs';

requireNode();
import('./setup/commands.mjs').then(({ start }) => start(process.argv.slice(2)));

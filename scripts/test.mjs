// npm test: all tests; arguments go to jest.
// An old Node must get as far as its error message: the rest is imported after the check.
import { requireNode } from './setup/node-version.mjs';

requireNode();
import('./setup/commands.mjs').then(({ test }) => test(process.argv.slice(2)));

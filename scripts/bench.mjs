// npm run bench: the benchmarks; arguments go to bench/dist/bench/src/main.js.
// An old Node must get as far as its error message: the rest is imported after the check.
import { requireNode } from './setup/node-version.mjs';

requireNode();
import('./setup/commands.mjs').then(({ bench }) => bench(process.argv.slice(2)));

#!/usr/bin/env node
// npx onqueue …: in a clone, sets up what is missing first, as npm start does; in the folder it was called from.
// An old Node must get as far as its error message: the rest is imported after the check.
import { requireNode } from '../../../scripts/setup/node-version.mjs';

requireNode();
import('../../../scripts/setup/prepare-cli.mjs').then(async ({ prepareCli }) => {
  if (await prepareCli()) await import('../dist/main.js');
});

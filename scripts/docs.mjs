// Writes the documents that are generated: docs/configuration.md and docs/problems.md. Needs a build (tsc -b).
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generatedDocs } from './docs/generated-docs.mjs';
import { repoRoot } from './setup/repo-root.mjs';

const tables = await import('../packages/shared/dist/index.js').catch(() => {
  console.error("There is no build to read the tables from: run 'npm run build' first.");
  process.exit(1);
});
for (const [path, text] of Object.entries(generatedDocs(tables))) {
  await writeFile(join(repoRoot, path), text);
  console.log(`wrote ${path}`);
}

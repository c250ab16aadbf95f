import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ModelManifest, type RowResult, rowSchema } from '@onqueue/shared';
import {
  type Difference,
  type GoldenRow,
  type RepositoryEntry,
  readGoldenRows,
  readVersionFolder,
  scanModelRepository,
  worstDifference,
} from '@onqueue/worker/model-tools';
import { CliError } from '../cli-error.ts';
import type { TrialRunners } from './trial-runner.ts';

export interface VersionCheck {
  folder: string;
  name?: string;
  version?: string;
  /** `broken`: it cannot be loaded; `differs`: it can, and some golden rows have other answers. */
  status: 'ok' | 'differs' | 'broken';
  error?: string;
  rows?: number;
  rows_that_differ?: number;
  tolerance?: number;
  /** The largest difference of all; `row` counts from 1, `pointer` goes into the output. */
  worst?: { row: number; pointer: string; expected: unknown; actual: unknown; difference: number | null };
  load_ms?: number;
}

export interface CheckModelOptions {
  /** A folder, `name/version`, `name`, or all. */
  version: string | undefined;
  at: (path: string) => string;
  modelsDir: string;
  runners: TrialRunners;
}

/** One after the other: each loads its model. @throws CliError when there is nothing to check. */
export async function checkModel({ version, at, modelsDir, runners }: CheckModelOptions): Promise<VersionCheck[]> {
  const checks: VersionCheck[] = [];
  for (const entry of await entriesOf(version, at, modelsDir)) checks.push(await checkVersion(entry, runners));
  return checks;
}

async function entriesOf(version: string | undefined, at: CheckModelOptions['at'], modelsDir: string) {
  if (version !== undefined) {
    const folder = at(version);
    const isFolder = await stat(join(folder, 'model.json')).then(
      () => true,
      () => false,
    );
    if (isFolder) return [await readVersionFolder(folder)];
  }
  const entries = await scanModelRepository({ modelsDir }).catch((cause: Error) => {
    throw new CliError(`The model repository ${modelsDir} cannot be read: ${cause.message}`, { cause });
  });
  const wanted = version?.split('/').filter(Boolean);
  const chosen = entries.filter(({ folder }) => !wanted || isWithin(folder, modelsDir, wanted));
  if (chosen.length === 0) {
    throw new CliError(`There is no ${version ?? 'version'} in ${modelsDir}${version ? ', and no such folder' : ''}.`);
  }
  return chosen;
}

function isWithin(folder: string, modelsDir: string, [name, version]: readonly string[]): boolean {
  const [ownName, ownVersion] = folder.slice(join(modelsDir).replace(/[\\/]$/, '').length + 1).split(/[\\/]/);
  return ownName === name && (version === undefined || ownVersion === version);
}

async function checkVersion(
  { folder, manifest, error }: RepositoryEntry,
  runners: TrialRunners,
): Promise<VersionCheck> {
  if (!manifest) return { folder, status: 'broken', error: error.message };
  const { name, version } = manifest;
  try {
    const { golden } = manifest;
    const rows = golden ? await readGoldenRows(join(folder, golden.file)) : [];
    // Without golden rows a load runs the example, which is all that can be found out.
    const runner = await runners.start({ folder, manifest, golden: golden ? 'not_compared' : 'must_match' });
    try {
      if (!golden) return { folder, name, version, status: 'ok', rows: 0, load_ms: Math.round(runner.loadMs) };
      const differences = await replay(rows, manifest, runner.run);
      return {
        folder,
        name,
        version,
        ...verdict(differences, golden.tolerance),
        load_ms: Math.round(runner.loadMs),
      };
    } finally {
      await runner.stop();
    }
  } catch (cause) {
    return { folder, name, version, status: 'broken', error: (cause as Error).message };
  }
}

/** Alone and in batches as large as they will come; of each row, what differs more. */
async function replay(
  rows: readonly GoldenRow[],
  manifest: ModelManifest,
  run: (rows: readonly unknown[]) => Promise<RowResult[]>,
): Promise<Difference[]> {
  const schema = rowSchema(manifest);
  const differences: Difference[] = [];
  for (const sizes of new Set([1, manifest.batching.max_batch_size])) {
    for (let start = 0; start < rows.length; start += sizes) {
      const batch = rows.slice(start, start + sizes);
      const results = await run(batch.map(({ input }) => input));
      for (const [index, golden] of batch.entries()) {
        const next = refusal(schema, golden) ?? differenceOf(results[index], golden);
        const before = differences[start + index];
        if (!before || next.difference > before.difference) differences[start + index] = next;
      }
    }
  }
  return differences;
}

/** A row that the API would refuse is never computed, whatever the model says to it. */
function refusal(schema: ReturnType<typeof rowSchema>, { input, output }: GoldenRow): Difference | undefined {
  const { error } = schema.safeParse(input);
  const [issue] = error?.issues ?? [];
  if (!issue) return undefined;
  const pointer = `/${issue.path.join('/')}`;
  return {
    difference: Number.POSITIVE_INFINITY,
    pointer,
    expected: output,
    actual: `the API refuses the row at ${pointer}: ${issue.message}`,
  };
}

function differenceOf(result: RowResult | undefined, golden: GoldenRow): Difference {
  if (result?.status === 'succeeded') return worstDifference(result.output, golden.output);
  return { difference: Number.POSITIVE_INFINITY, pointer: '/', expected: golden.output, actual: result?.error };
}

function verdict(differences: readonly Difference[], tolerance: number) {
  const wrong = differences.filter(({ difference }) => difference > tolerance).length;
  const worst = differences.reduce((max, next) => (next.difference > max.difference ? next : max));
  const { difference, ...place } = worst;
  return {
    status: wrong === 0 ? ('ok' as const) : ('differs' as const),
    rows: differences.length,
    rows_that_differ: wrong,
    tolerance,
    // JSON has no infinity: null is a difference that is not one of numbers.
    worst: {
      row: differences.indexOf(worst) + 1,
      ...place,
      difference: Number.isFinite(difference) ? difference : null,
    },
  };
}

export function checkText(checks: readonly VersionCheck[]): string {
  return checks
    .map(({ folder, name, version, status, error, rows, rows_that_differ, tolerance, worst }) => {
      const title = name ? `${name}/${version}` : folder;
      if (status === 'broken') return `${title}  broken\n  ${error}`;
      if (rows === 0) return `${title}  ok: it has no golden rows, and answers its example`;
      const line = `row ${worst?.row} at ${worst?.pointer}: expected ${JSON.stringify(worst?.expected)}, got ${JSON.stringify(worst?.actual)}`;
      const largest =
        worst?.difference === null ? 'not a difference of numbers' : `a difference of ${worst?.difference}`;
      if (status === 'ok')
        return `${title}  ok: ${rows} golden rows, largest difference ${worst?.difference} (tolerance ${tolerance})`;
      return `${title}  differs: ${rows_that_differ} of ${rows} golden rows\n  worst: ${line}\n  ${largest}, the tolerance is ${tolerance}`;
    })
    .join('\n');
}

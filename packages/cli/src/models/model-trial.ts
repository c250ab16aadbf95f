import type { ModelManifest, RowResult, RowTensor } from '@onqueue/shared';
import { rowShapeOf } from '@onqueue/shared';
import { worstDifference } from '@onqueue/worker/model-tools';
import { CliError } from '../cli-error.ts';
import { type BatchLayout, batchLayouts } from './batch-layouts.ts';
import type { GraphTensor } from './graph-tensor.ts';
import type { Row } from './option-values.ts';
import { elementsOf, RECIPES, type Recipe, type RowPart, rowPartsOf, syntheticRow } from './synthetic-rows.ts';
import type { TrialRunner, TrialRunners } from './trial-runner.ts';

export interface TrialOptions {
  /** A version folder with the artifact in it. */
  folder: string;
  artifact: ModelManifest['artifact'];
  graph: { inputs: readonly GraphTensor[]; outputs: readonly GraphTensor[] };
  /** In place of made-up ones. */
  rows: readonly Row[] | undefined;
  runners: TrialRunners;
}

/** What was found out by running the model. */
export interface Trial {
  layout: BatchLayout;
  tensors: RowTensor[];
  rows: Row[];
  /** Of each row, all outputs as nested arrays. */
  answers: Row[];
  /** Whether some of the answers are NaN or infinite. */
  hasNonFinite: boolean;
  /** Of an output whose dimensions vary as those of a tensor of the row do. */
  lengthOf: Record<string, string>;
  /** Why rows are not run together although the graph looks as if they could be. */
  rejected: string[];
}

/**
 * Tries the readings of the graph's shapes, each in a process of its own, until one runs; and where it has several rows in a run, until
 * each row has the answer there that it has alone. @throws CliError with what the engine said when none does.
 */
export async function tryModel(options: TrialOptions): Promise<Trial> {
  const rejected: string[] = [];
  let engineError: string | undefined;
  for (const layout of batchLayouts(options.graph)) {
    try {
      return { ...(await tryLayout(options, layout)), rejected };
    } catch (error) {
      if (error instanceof LayoutRejected) rejected.push(error.message);
      // What the first reading says is about the rows; the later ones fail for the shapes that they assume.
      else engineError ??= (error as Error).message;
    }
  }
  const advice = options.rows ? 'the rows of --rows' : 'made-up rows; give some that it takes with --rows <file>';
  throw new CliError(`The model has no answer to ${advice}. It said: ${engineError ?? rejected.join('; ')}`);
}

/** Rows cannot share a run. */
class LayoutRejected extends Error {}

const ROWS = 5;
/** Rows of pictures and the like are many numbers: two will do, to be compared. */
const LARGE_ROW_ELEMENTS = 5000;
const MAX_ROW_ELEMENTS = 4_000_000;

type LayoutTrial = Omit<Trial, 'rejected'>;

async function tryLayout(options: TrialOptions, layout: BatchLayout): Promise<LayoutTrial> {
  const parts = rowPartsOf(layout, options.graph.inputs);
  const tensors = parts.map(({ name, dtype, dims }) => ({ name, dtype, shape: dims.map(sizeOf) }) as RowTensor);
  const lengthOf = lengthsOf(layout, options.graph.outputs, parts);
  const manifest = trialManifest(options, { layout, tensors, lengthOf });
  const runner = await options.runners.start({ folder: options.folder, manifest, golden: 'not_compared' });
  try {
    const { rows, answers, recipe } = await answeredRows(runner, parts, options.rows);
    if (layout.batch !== 'row_by_row') {
      await mustAgree(runner, rows, answers, layout);
      if (recipe) await mustStandPadding(runner, parts, recipe);
    }
    const hasNonFinite = /"(NaN|-?Infinity)"/.test(JSON.stringify(answers));
    return { layout, tensors, rows, answers, hasNonFinite, lengthOf };
  } finally {
    await runner.stop();
  }
}

async function answeredRows(runner: TrialRunner, parts: readonly RowPart[], given: readonly Row[] | undefined) {
  if (given) return { rows: [...given], answers: await answersAlone(runner, given), recipe: undefined };
  let failure: unknown;
  for (const recipe of RECIPES) {
    const elements = elementsOf(parts, recipe);
    if (elements > MAX_ROW_ELEMENTS) continue;
    const count = elements > LARGE_ROW_ELEMENTS ? 2 : ROWS;
    const rows = Array.from({ length: count }, (_, index) => syntheticRow(parts, recipe, index + 1));
    try {
      return { rows, answers: await answersAlone(runner, rows), recipe };
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure ?? new Error(`a row has more than ${MAX_ROW_ELEMENTS} values`);
}

async function answersAlone(runner: TrialRunner, rows: readonly Row[]): Promise<Row[]> {
  const answers: Row[] = [];
  for (const row of rows) answers.push(...answersOf(await runner.run([row])));
  return answers;
}

/** Of two rows, of all, and of one more than the graph takes at once: what is filled up must not show. */
async function mustAgree(runner: TrialRunner, rows: readonly Row[], answers: readonly Row[], layout: BatchLayout) {
  const [size = -1] = layout.inputs.map(({ shape }) => shape[0] ?? -1).filter((dim) => dim > 0);
  if (size === 1) return;
  const claim = size > 1 ? `the graph fixes its batch at ${size}` : 'the graph says that its batch is free';
  for (const count of [2, rows.length, Math.max(rows.length, size + 1)]) {
    const places = Array.from({ length: count }, (_, place) => place % rows.length);
    const together = await runner.run(places.map((place) => rows[place])).then(answersOf, (error: Error) => {
      throw new LayoutRejected(`${claim}, but ${count} rows at once fail: ${error.message}`);
    });
    for (const [index, place] of places.entries()) {
      if (isNear(together[index], answers[place])) continue;
      throw new LayoutRejected(`${claim}, but a row has another answer among ${count} than alone`);
    }
  }
}

/** Rows of several lengths are filled up to the longest, which a graph without a mask may take for values. */
async function mustStandPadding(runner: TrialRunner, parts: readonly RowPart[], recipe: Recipe) {
  if (!parts.some(({ dims }) => dims.some((size) => typeof size === 'string'))) return;
  const short = syntheticRow(parts, recipe, 1);
  const long = syntheticRow(parts, { ...recipe, length: recipe.length * 2 }, 2);
  const alone = await answersAlone(runner, [short, long]).catch(() => undefined);
  // It takes one length only.
  if (!alone) return;
  const together = await runner.run([short, long]).then(answersOf, () => undefined);
  if (together && isNear(together[0], alone[0]) && isNear(together[1], alone[1])) return;
  throw new LayoutRejected(
    'rows of several lengths have other answers when they are filled up to the longest (with 0) than alone',
  );
}

function answersOf(results: readonly RowResult[]): Row[] {
  return results.map((result) => {
    if (result.status === 'succeeded') return result.output;
    throw new Error(result.error.detail);
  });
}

/** As near as other orders of summing are. */
function isNear(actual: unknown, expected: unknown): boolean {
  return worstDifference(actual, expected).difference <= 1e-5 + 1e-3 * largestOf(expected);
}

/** The largest absolute number in a value. */
export function largestOf(value: unknown): number {
  if (typeof value === 'number') return Math.abs(value);
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce<number>((largest, member) => Math.max(largest, largestOf(member)), 0);
}

/** Only where names say so: an output that varies as a tensor of the row does is cut to it. */
function lengthsOf(layout: BatchLayout, outputs: readonly GraphTensor[], parts: readonly RowPart[]) {
  const lengths: Record<string, string> = {};
  for (const { name, shape } of outputs) {
    if (layout.batch === 'row_by_row') continue;
    const varying = shape.slice(1).filter((size) => typeof size === 'string');
    const source = parts.find(({ dims }) => {
      const own = dims.filter((size) => typeof size === 'string');
      return varying.length > 0 && varying.every((size, index) => size !== '' && own[index] === size);
    });
    if (source) lengths[name] = source.name;
  }
  return lengths;
}

function trialManifest(
  { artifact }: TrialOptions,
  { layout, tensors, lengthOf }: Pick<Trial, 'layout' | 'tensors' | 'lengthOf'>,
): ModelManifest {
  const outputs = layout.outputs.map(({ name: output, ...spec }) => {
    const isVariable = rowShapeOf({ ...spec }).includes(-1);
    return { output, ...(lengthOf[output] && isVariable ? { length_of: lengthOf[output] } : {}) };
  });
  return {
    schema_version: 1,
    name: 'trial',
    version: '1',
    description: '',
    kind: 'tensor',
    artifact,
    inputs: layout.inputs,
    outputs: layout.outputs,
    row: { tensors },
    example: {},
    preprocess: { type: 'pad' },
    postprocess: { type: 'raw', outputs, allow_non_finite: true },
    batching: { max_batch_size: 64, calibrate: false },
    golden: { file: 'golden.jsonl', tolerance: 1 },
  };
}

function sizeOf(size: number | string): number {
  return typeof size === 'number' ? size : -1;
}

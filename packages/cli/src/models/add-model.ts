import { copyFile, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { batchAxisOf, type ModelManifest, modelManifest, type RowResult } from '@onqueue/shared';
import { fileSha256, withoutZipMap, worstDifference } from '@onqueue/worker/model-tools';
import { CliError } from '../cli-error.ts';
import { chooseAnswer } from './answer-choice.ts';
import { curlLine, MAX_SHOWN_REQUEST, REQUEST_FILE } from './curl-line.ts';
import { draftComments } from './draft-comments.ts';
import { isServable, tensorText } from './graph-tensor.ts';
import { IMAGE_COMMENTS, imageSection } from './image-draft.ts';
import { externalFilesOf, readStructure } from './inspect-model-file.ts';
import { type DraftAlternative, manifestText } from './manifest-draft.ts';
import { largestOf, type Trial, tryModel } from './model-trial.ts';
import type { Row } from './option-values.ts';
import { draftRows, hasBatchInFront, type RowDraft } from './row-draft.ts';
import { chooseRowKind, type PictureShape, pictureOf, type RowKindName } from './row-kind-choice.ts';
import { syntheticImageRows } from './synthetic-images.ts';
import type { TrialRunners } from './trial-runner.ts';
import { copyExternalData, nextVersion, stageVersion } from './version-staging.ts';

export interface AddModelOptions {
  file: string;
  name: string;
  version: string | undefined;
  modelsDir: string;
  labels: readonly string[] | undefined;
  rows: readonly Row[] | undefined;
  description: string | undefined;
  /** Found out where it is not given. */
  kind: RowKindName | undefined;
  runners: TrialRunners;
  baseUrl: string;
}

export interface AddedModel {
  name: string;
  version: string;
  folder: string;
  kind: ModelManifest['kind'];
  batch: Trial['layout']['batch'];
  /** What was found out about the batch, in words. */
  batch_reason: string;
  postprocess: ModelManifest['postprocess'];
  postprocess_reason: string;
  golden_rows: number;
  /** Made up: they prove that answers stay the same, not that they are right. */
  is_synthetic: boolean;
  tolerance: number;
  /** What a person should know or do. */
  notes: string[];
  /** Posts a job, and waits for its answer. */
  curl: string;
}

/** A version folder from a model file. @throws CliError saying what is in the way; nothing is left then. */
export async function addModel(options: AddModelOptions): Promise<AddedModel> {
  const { name, modelsDir, baseUrl } = options;
  const version = options.version ?? (await nextVersion(modelsDir, name));
  const made = await stageVersion({ modelsDir, name, version }, (staging) => makeVersion(options, version, staging));
  const { manifest, folder, request, tolerance, ...rest } = made;
  return {
    name,
    version,
    folder,
    kind: manifest.kind,
    postprocess: manifest.postprocess,
    tolerance,
    ...rest,
    curl: curlLine({ baseUrl, request, folder }),
  };
}

async function makeVersion(options: AddModelOptions, version: string, staging: string) {
  const { runners } = options;
  const notes: string[] = [];
  const { artifact, producer, zipMap } = await copyArtifact(options.file, staging, notes);
  const path = join(staging, artifact.file);
  const graph = await runners.inspect(path).catch((error: Error) => {
    throw new CliError(`${options.file} cannot be loaded: ${error.message}`, { cause: error });
  });
  const outputs = servableOutputs(graph, notes);
  const kind = await chooseRowKind({ ...options, inputs: graph.inputs });
  const picture = pictureOf(graph.inputs);
  // The graph itself is tried with tensors in any case; texts and pictures are for what comes before it.
  const isEncoded = kind === 'text' || kind === 'image';
  const given = isEncoded ? undefined : options.rows?.map((row) => asTensors(row, graph.inputs));
  const trial = await tryModel({ folder: staging, artifact, graph: { ...graph, outputs }, rows: given, runners });
  const choice = chooseAnswer(trial, { labels: options.labels, zipMap });
  const asked = { kind, isAsked: options.kind !== undefined, hasLabels: options.labels !== undefined };
  const rowDraft = await draftRows({ ...options, ...asked, staging, picture, trial, choice, notes });
  const { rows, answer } = rowDraft;
  const draft = draftOf(options, { version, artifact, producer, trial, rowDraft });
  const example = exampleOf(rows);
  const { golden, tolerance } = await goldenRows(staging, draft, rows, runners, notes);
  const manifest = modelManifest.parse({ ...draft, example, golden: { ...draft.golden, tolerance } });
  await writeFile(join(staging, 'golden.jsonl'), golden.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const is_synthetic = options.rows === undefined;
  const comments = draftComments({ manifest, trial, choice: answer, isSynthetic: is_synthetic });
  const alternative =
    kind === undefined && picture && draft.kind === 'tensor' && hasBatchInFront(trial)
      ? await imageAlternative(staging, { draft, picture, runners, notes })
      : undefined;
  await writeFile(join(staging, 'model.json'), manifestText(manifest, comments, alternative));
  const request = JSON.stringify({ model: options.name, inputs: rows.slice(0, 1) });
  if (request.length > MAX_SHOWN_REQUEST) await writeFile(join(staging, REQUEST_FILE), `${request}\n`);
  await mustServe(staging, manifest, runners);
  return {
    manifest,
    tolerance,
    request,
    batch: trial.layout.batch,
    batch_reason: batchReason(trial),
    postprocess_reason: answer.reason,
    golden_rows: golden.length,
    is_synthetic,
    notes,
  };
}

/** An example is published with the model, and pasted into shells. */
const MAX_EXAMPLE_CHARACTERS = 20_000;

function exampleOf([row = {}]: readonly Row[]): Row {
  return JSON.stringify(row).length <= MAX_EXAMPLE_CHARACTERS ? row : {};
}

/** Beside the golden rows of tensors, for whoever makes pictures of them. */
const IMAGE_GOLDEN = 'golden-images.jsonl';

/** Numbers of a picture's shape may be a picture, and only a person knows: the draft has what that would take, tried and commented out. */
async function imageAlternative(
  staging: string,
  made: { draft: ModelManifest; picture: PictureShape; runners: TrialRunners; notes: string[] },
): Promise<DraftAlternative | undefined> {
  const { draft, picture, runners, notes } = made;
  const rows = syntheticImageRows(3);
  const section = { ...imageSection(picture), example: exampleOf(rows) };
  const manifest = modelManifest.parse({ ...draft, ...section });
  const tried = await goldenRows(staging, manifest, rows, runners, []).catch(() => undefined);
  // The graph has no answer to numbers of 0 to 1.
  if (!tried) return undefined;
  const { golden, tolerance } = tried;
  await writeFile(join(staging, IMAGE_GOLDEN), golden.map((line) => `${JSON.stringify(line)}\n`).join(''));
  notes.push(
    'The input has the shape of a picture. If it is one, model.json has at its end what that takes, commented out; or add the model with --kind image.',
  );
  return {
    comments: [
      'For rows of pictures, {"image": base64}, take the // off the lines below, and delete the members above that have the same names.',
      ...IMAGE_COMMENTS,
    ],
    members: { ...section, golden: { file: IMAGE_GOLDEN, tolerance } },
  };
}

async function copyArtifact(file: string, staging: string, notes: string[]) {
  const structure = await readStructure(file);
  const target = structure ? 'model.onnx' : `model${extname(file)}`;
  const path = join(staging, target);
  const zipMaps = structure ? await withoutZipMap(file, path) : [];
  if (zipMaps.length === 0) await copyFile(file, path);
  for (const { output, tensor } of zipMaps) {
    notes.push(
      `The artifact is a copy without the ZipMap of "${output}", whose maps cannot be read from JavaScript: "${tensor}" is an output in its place.`,
    );
  }
  const locations = structure ? externalFilesOf(structure) : [];
  await copyExternalData(file, locations, staging);
  const data = await Promise.all(
    locations.map(async (location) => ({ file: location, sha256: await fileSha256(join(staging, location)) })),
  );
  const [zipMap] = zipMaps;
  return {
    artifact: { file: target, sha256: await fileSha256(path), ...(data.length > 0 ? { data } : {}) },
    producer: structure?.producer,
    zipMap: zipMap && { tensor: zipMap.tensor, labels: zipMap.labels.map(String) },
  };
}

function servableOutputs(graph: Awaited<ReturnType<TrialRunners['inspect']>>, notes: string[]) {
  const strange = graph.inputs.filter((tensor) => !isServable(tensor));
  if (strange.length > 0) {
    throw new CliError(`These inputs are of types that cannot be fed: ${strange.map(tensorText).join('; ')}.`);
  }
  const outputs = graph.outputs.filter(isServable);
  for (const { name, dtype } of graph.outputs.filter((tensor) => !isServable(tensor))) {
    notes.push(`Output "${name}" is left unread: it is a ${dtype}, not a tensor that can be answered.`);
  }
  if (outputs.length === 0) throw new CliError('The graph has no output that is a tensor.');
  return outputs;
}

/** Rows of columns may have plain values. */
function asTensors(row: Row, inputs: readonly { name: string; shape: readonly unknown[] }[]): Row {
  const isColumn = (name: string) => {
    const shape = inputs.find((input) => input.name === name)?.shape;
    return shape?.length === 2 && shape[1] === 1;
  };
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, isColumn(name) && !Array.isArray(value) ? [value] : value]),
  );
}

function draftOf(
  { name, description, file }: AddModelOptions,
  made: {
    version: string;
    artifact: ModelManifest['artifact'];
    producer: { name: string; version: string } | undefined;
    trial: Trial;
    rowDraft: RowDraft;
  },
): ModelManifest {
  const { version, artifact, producer, trial, rowDraft } = made;
  const by = producer?.name ? `, exported by ${producer.name} ${producer.version}`.trimEnd() : '';
  return {
    schema_version: 1,
    name,
    version,
    description: description ?? `Added from ${basename(file)}${by}.`,
    artifact,
    inputs: trial.layout.inputs,
    outputs: rowDraft.answer.outputs,
    example: {},
    postprocess: rowDraft.answer.postprocess,
    batching: { max_batch_size: maxBatchSizeOf(trial), calibrate: true },
    golden: { file: 'golden.jsonl', tolerance: 1 },
    ...rowDraft.section,
  } as ModelManifest;
}

/** Of a free batch the largest size that is measured at load; of a fixed one a full run. */
function maxBatchSizeOf({ layout }: Trial): number {
  if (layout.batch === 'free') return 64;
  const [size = 1] = layout.inputs.map((spec) => spec.shape[batchAxisOf(spec) ?? -1] ?? -1).filter((dim) => dim > 1);
  // Rows that are run one by one gain nothing but the way to the runner and back.
  return size > 1 ? Math.min(size, 4096) : 8;
}

/** The answers of the final manifest, and a tolerance that the differences of batches and repeats leave room in. */
async function goldenRows(
  folder: string,
  manifest: ModelManifest,
  rows: readonly Row[],
  runners: TrialRunners,
  notes: string[],
) {
  const runner = await runners.start({ folder, manifest, golden: 'not_compared' });
  try {
    const alone: Row[] = [];
    for (const row of rows) alone.push(outputOf((await runner.run([row]))[0]));
    const together = (await runner.run(rows)).map(outputOf);
    const [again] = (await runner.run(rows.slice(0, 1))).map(outputOf);
    if (worstDifference(again, alone[0]).difference > 0) {
      notes.push(
        'The model gives the same row other answers each time: it draws random numbers, or does not compute in order.',
      );
    }
    const differences = [
      ...together.map((answer, index) => worstDifference(answer, alone[index])),
      worstDifference(again, alone[0]),
    ];
    const worst = Math.max(...differences.map(({ difference }) => difference));
    const tolerance = Number(Math.max(1e-4 * Math.max(1, largestOf(alone)), 10 * worst).toPrecision(2));
    return { golden: rows.map((input, index) => ({ input, output: alone[index] ?? {} })), tolerance };
  } catch (error) {
    const advice =
      manifest.kind === 'text'
        ? ` Texts of up to ${manifest.preprocess.max_length} tokens were tried: if it takes fewer, put its config.json or tokenizer_config.json beside it.`
        : '';
    throw new CliError(`The model cannot be answered from: ${(error as Error).message}${advice}`, { cause: error });
  } finally {
    await runner.stop();
  }
}

/** As a worker will do it. */
async function mustServe(folder: string, manifest: ModelManifest, runners: TrialRunners): Promise<void> {
  const runner = await runners.start({ folder, manifest, golden: 'must_match' }).catch((error: Error) => {
    throw new CliError(`The version cannot be served: ${error.message}`, { cause: error });
  });
  await runner.stop();
}

function outputOf(result: RowResult | undefined): Row {
  if (result?.status === 'succeeded') return result.output;
  throw new Error(result?.error.detail ?? 'a row has no result');
}

function batchReason({ layout, rows, rejected }: Trial): string {
  const [size] = layout.inputs.map(({ shape }) => shape[0] ?? -1).filter((dim) => dim > 0);
  if (layout.batch === 'free') return `free: ${rows.length} rows together have the answers that they have alone`;
  if (layout.batch === 'fixed' && size !== undefined && size > 1) {
    return `fixed at ${size}: runs are filled up to it, and what answers the filling is dropped`;
  }
  if (layout.batch === 'fixed') return 'fixed at 1: rows are run one by one';
  const [reason] = rejected;
  if (reason) return `rows are run one by one: ${reason}`;
  return 'rows are run one by one: not every tensor has the batch as its first dimension';
}

import { stat } from 'node:fs/promises';
import { fileSha256, ModelFileError, type OnnxModel, readOnnxModel } from '@onqueue/worker/model-tools';
import { CliError } from '../cli-error.ts';
import { type GraphTensor, tensorText } from './graph-tensor.ts';
import type { TrialRunners } from './trial-runner.ts';

/** What there is to know of a model file that nobody has described. */
export interface Inspection {
  file: string;
  bytes: number;
  sha256: string;
  format: 'onnx' | 'ort';
  /** What wrote it; of an `.ort` file that is not told. */
  producer: string | undefined;
  opsets: { domain: string; version: number }[];
  inputs: GraphTensor[];
  outputs: GraphTensor[];
  /** Files beside the model that hold its weights, as it names them. */
  external_data: string[];
  /** What the batch dimension looks like; only a run tells whether it is true. */
  batch: string;
  runtime: string;
}

export async function inspectModelFile(options: { file: string; runners: TrialRunners }): Promise<Inspection> {
  const { file, runners } = options;
  const structure = await readStructure(file);
  const graph = await runners.inspect(file).catch((error: Error) => {
    throw new CliError(`${file} cannot be loaded: ${error.message}`, { cause: error });
  });
  return {
    file,
    bytes: (await stat(file)).size,
    sha256: await fileSha256(file),
    format: structure ? 'onnx' : 'ort',
    producer:
      structure && ([structure.producer.name, structure.producer.version].filter(Boolean).join(' ') || undefined),
    opsets: [...(structure?.opsets ?? [])],
    inputs: graph.inputs,
    outputs: graph.outputs,
    external_data: structure ? externalFilesOf(structure) : [],
    batch: batchText(graph.inputs),
    runtime: `${graph.runtime.name} ${graph.runtime.version}`,
  };
}

/** Undefined for an `.ort` file, of which only the engine can read anything. */
export async function readStructure(file: string): Promise<OnnxModel | undefined> {
  if (file.endsWith('.ort')) return undefined;
  try {
    return await readOnnxModel(file);
  } catch (cause) {
    if (cause instanceof ModelFileError) throw new CliError(cause.message, { cause });
    throw new CliError(`${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

export function externalFilesOf({ externalData }: OnnxModel): string[] {
  return [...new Set(externalData.map(({ location }) => location))];
}

export function inspectionText(inspection: Inspection): string {
  const { file, bytes, sha256, format, producer, opsets, inputs, outputs, external_data, batch, runtime } = inspection;
  const opsetText = opsets.map(({ domain, version }) => `${domain} ${version}`).join(', ');
  return [
    `${file}: ${format.toUpperCase()}, ${bytes} bytes${producer ? `, by ${producer}` : ''}${opsetText ? `, opsets ${opsetText}` : ''}`,
    `  sha256  ${sha256}`,
    ...inputs.map((tensor) => `  input   ${tensorText(tensor)}`),
    ...outputs.map((tensor) => `  output  ${tensorText(tensor)}`),
    ...external_data.map((location) => `  data    ${location}`),
    `  batch   ${batch}`,
    `  loads in ${runtime}`,
  ].join('\n');
}

function batchText(inputs: readonly GraphTensor[]): string {
  const first = inputs.map(({ shape }) => shape[0]);
  if (first.length > 0 && first.every((size) => typeof size === 'string')) return 'free, as far as the graph says';
  const [size] = first;
  if (typeof size === 'number' && first.every((other) => other === size))
    return `the first dimension is ${size} throughout`;
  return 'not the first dimension of every input: rows are run one by one';
}

import { isAbsolute, join } from 'node:path';
import { loadConfig, modelName, modelVersion } from '@onqueue/shared';
import { filePolicyOf } from '@onqueue/worker/model-tools';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { CliContext } from '../cli-context.ts';
import { CliError, EXIT } from '../cli-error.ts';
import { addModel } from '../models/add-model.ts';
import { addedText } from '../models/added-text.ts';
import { checkModel, checkText } from '../models/check-model.ts';
import { inspectionText, inspectModelFile } from '../models/inspect-model-file.ts';
import { listModels, listText } from '../models/list-models.ts';
import { labelsOf, rowsOfFile } from '../models/option-values.ts';
import { ROW_KINDS, type RowKindName } from '../models/row-kind-choice.ts';
import { trialRunners } from '../models/trial-runner.ts';

/** `onqueue models …`: from a file of a stranger to a version that is served. */
export function modelsCommand(context: CliContext): Command {
  const { env, cwd, print } = context;
  const at = (path: string) => (isAbsolute(path) ? path : join(cwd, path));
  const modelsDir = () =>
    ['--models-dir <folder>', 'the model repository', env.ONQUEUE_MODELS_DIR || 'models'] as const;
  const answer = (isJson: boolean | undefined, value: unknown, text: () => string) =>
    print(isJson ? JSON.stringify(value, null, 2) : text());

  const models = new Command('models').description(
    'Look at model files, add them to the repository, check and list it.',
  );

  models
    .command('add')
    .description('Write a version folder for a model file: manifest, artifact, golden rows. It is run to find out how.')
    .argument('<file>', 'a .onnx or .ort file; external data is taken from beside it')
    .requiredOption('--name <name>', 'of the model', parsed(modelName))
    .option('--version <version>', 'of the model; the next free number unless given', parsed(modelVersion))
    .option(...modelsDir())
    .option('--labels <a,b,c | file>', 'what the values of a classifier stand for: a list, or a file with one a line')
    .option('--rows <file>', 'rows to try the model with, one JSON object a line, in place of made-up ones')
    .addOption(new Option('--kind <kind>', 'of rows; found out unless given').choices(ROW_KINDS))
    .option('--description <text>', 'one or two sentences, shown by GET /models/:name')
    .option('--timeout <seconds>', 'for loading the model, and for each run of it', seconds, 60)
    .option('--max-memory <bytes>', 'that the process which runs the model may take', bytes, DEFAULT_MEMORY_BYTES)
    .option('--url <url>', 'of the API, for the example', 'http://127.0.0.1:8080')
    .option('--json', 'tell it as JSON')
    .addHelpText('after', ADD_HELP)
    .action(async (file: string, options: AddOptions) => {
      const added = await addModel({
        file: at(file),
        name: options.name,
        version: options.version,
        modelsDir: at(options.modelsDir),
        labels: await labelsOf(options.labels, at),
        rows: options.rows === undefined ? undefined : await rowsOfFile(at(options.rows)),
        description: options.description,
        kind: options.kind,
        runners: runnersFor(context, options),
        baseUrl: options.url,
      });
      answer(options.json, added, () => addedText(added, cwd));
    });

  models
    .command('inspect')
    .description('Show what a model file takes and gives, without adding it.')
    .argument('<file>', 'a .onnx or .ort file')
    .option('--timeout <seconds>', 'for loading the model', seconds, 60)
    .option('--max-memory <bytes>', 'that the process which loads the model may take', bytes, DEFAULT_MEMORY_BYTES)
    .option('--json', 'tell it as JSON')
    .action(async (file: string, options: InspectOptions) => {
      const runners = runnersFor(context, options);
      const inspection = await inspectModelFile({ file: at(file), runners });
      answer(options.json, inspection, () => inspectionText(inspection));
    });

  models
    .command('check')
    .description('Load versions as a worker would, and replay their golden rows.')
    .argument('[version]', 'a version folder, name/version, or a name for all of its versions; all models unless given')
    .option(...modelsDir())
    .option('--timeout <seconds>', 'for loading the model, and for each batch', seconds, 60)
    .option('--max-memory <bytes>', 'that the process which runs the model may take', bytes, DEFAULT_MEMORY_BYTES)
    .option('--json', 'tell it as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: a version cannot be loaded, or a golden row differs by more than the tolerance.',
    )
    .action(async (version: string | undefined, options: CheckOptions) => {
      const runners = runnersFor(context, options);
      const checks = await checkModel({ version, at, modelsDir: at(options.modelsDir), runners });
      answer(options.json, checks, () => checkText(checks));
      const failed = checks.filter(({ status }) => status !== 'ok').length;
      if (failed > 0) throw new CliError(options.json ? '' : `${failed} of ${checks.length} versions failed.`);
    });

  models
    .command('list')
    .description('List the versions in the repository; what cannot be read is told, too.')
    .option(...modelsDir())
    .option('--json', 'tell it as JSON')
    .action(async (options: { modelsDir: string; json?: boolean }) => {
      const listed = await listModels(at(options.modelsDir));
      answer(options.json, listed, () => listText(listed));
    });

  return models;
}

interface InspectOptions {
  timeout: number;
  maxMemory: number;
  json?: boolean;
}

interface CheckOptions extends InspectOptions {
  modelsDir: string;
}

interface AddOptions extends CheckOptions {
  name: string;
  version?: string;
  labels?: string;
  rows?: string;
  kind?: RowKindName;
  description?: string;
  url: string;
}

const DEFAULT_MEMORY_BYTES = 4 * 1024 ** 3;

/** Held against the same settings as a worker's, where it finds them in the environment. */
function runnersFor({ env }: CliContext, { timeout, maxMemory }: InspectOptions) {
  return trialRunners({
    env,
    filePolicy: filePolicyOf(configOf(env)),
    timeoutMs: timeout * 1000,
    maxMemoryBytes: maxMemory,
  });
}

function configOf(env: CliContext['env']) {
  try {
    return loadConfig(env);
  } catch (cause) {
    throw new CliError((cause as Error).message, { exitCode: EXIT.usage, cause });
  }
}

function parsed(schema: typeof modelName) {
  return (text: string): string => {
    const { data, error } = schema.safeParse(text);
    if (data === undefined) throw new InvalidArgumentError(`${error?.issues[0]?.message}.`);
    return data;
  };
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError('It is more than 0 and at most 3600.');
  return value;
}

function bytes(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0) throw new InvalidArgumentError('It is a whole number of bytes.');
  return value;
}

const ADD_HELP = `
The model is run on made-up rows, in a process of its own, to find out whether its batch is free, fixed or absent. The golden rows
written from them prove that answers stay the same, not that they are right: replace them by rows from training.

Example: onqueue models add iris.onnx --name iris --labels setosa,versicolor,virginica`;

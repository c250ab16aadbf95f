import { CliError } from '../cli-error.ts';
import { checkModel } from '../models/check-model.ts';
import { listModels } from '../models/list-models.ts';
import type { TrialRunners } from '../models/trial-runner.ts';
import type { Finding } from './finding.ts';

export interface ModelsCheckOptions {
  modelsDir: string;
  at: (path: string) => string;
  /** Undefined: manifests are read and nothing is loaded. */
  runners: TrialRunners | undefined;
}

/** Which versions of the repository a worker on this machine could serve. */
export async function checkModels({ modelsDir, at, runners }: ModelsCheckOptions): Promise<Finding[]> {
  if (modelsDir.startsWith('s3://')) {
    return [{ check: 'models', status: 'info', message: `${modelsDir} is not looked at: only folders are` }];
  }
  try {
    const findings = runners
      ? (await checkModel({ version: undefined, at, modelsDir: at(modelsDir), runners })).map(
          ({ folder, name, version, status, error }): Finding =>
            status === 'ok'
              ? { check: `model ${name}/${version}`, status: 'ok', message: 'loads, and answers its golden rows' }
              : {
                  check: name === undefined ? `model ${folder}` : `model ${name}/${version}`,
                  status: 'error',
                  message: error ?? 'answers golden rows otherwise than it should',
                  remedy: `onqueue models check ${name === undefined ? folder : `${name}/${version}`} says more; a worker leaves it out.`,
                },
        )
      : (await listModels(at(modelsDir))).map(
          ({ folder, name, version, error }): Finding =>
            error === undefined
              ? { check: `model ${name}/${version}`, status: 'ok', message: 'its manifest can be read' }
              : {
                  check: `model ${folder}`,
                  status: 'error',
                  message: error,
                  remedy: 'Mend its model.json, or remove the folder; a worker leaves it out.',
                },
        );
    return findings.length > 0 ? findings : [none(modelsDir)];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [{ ...none(modelsDir), message: error.message }];
  }
}

function none(modelsDir: string): Finding {
  return {
    check: 'models',
    status: 'error',
    message: `there is none in ${modelsDir}`,
    remedy: 'Add one with onqueue models add, or set ONQUEUE_MODELS_DIR to where they are.',
  };
}

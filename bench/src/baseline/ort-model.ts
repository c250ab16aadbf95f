import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { MODEL_FOLDER, readManifest } from '../workload.ts';
import { SESSION_OPTIONS } from './session-options.ts';

/** The model without a platform around it: one row in, its score out. */
export interface OrtModel {
  score(input: Readonly<Record<string, unknown>>): Promise<number>;
}

/** Loads the model with the options that the platform's runners use: one thread, no spinning. */
export async function loadOrtModel(): Promise<OrtModel> {
  const { artifact, inputs, postprocess } = await readManifest();
  if (postprocess.type !== 'score') throw new Error('The baseline knows models with a score only.');
  const session = await ort.InferenceSession.create(join(MODEL_FOLDER, artifact.file), SESSION_OPTIONS);
  const fetches = [postprocess.output];
  return {
    async score(input) {
      const feeds: Record<string, ort.Tensor> = {};
      for (const { name, dtype } of inputs) {
        feeds[name] =
          dtype === 'string'
            ? new ort.Tensor('string', [String(input[name])], [1, 1])
            : new ort.Tensor('float32', Float32Array.of(Number(input[name])), [1, 1]);
      }
      const { [postprocess.output]: scores } = await session.run(feeds, fetches);
      return Number(scores?.data[0]);
    },
  };
}

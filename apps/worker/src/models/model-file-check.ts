import { dirname, relative } from 'node:path';
import { ModelFileError } from '../onnx/model-file-error.ts';
import { ONNX_DOMAIN, type OnnxNode } from '../onnx/onnx-graph.ts';
import { type OnnxModel, readOnnxModel } from '../onnx/onnx-model.ts';
import { ONNX_LIMITS } from '../onnx/onnx-scan.ts';
import { checkExternalData } from './external-data.ts';
import type { ModelFilePolicy } from './model-file-policy.ts';
import { openRegularFile } from './regular-file.ts';

/** A version's `folder`, the `path` of its artifact, both absolute, and what is allowed. */
export type ModelFileCheckOptions = { folder: string; path: string; policy: ModelFilePolicy };

/** Before anything reads the artifact as a whole: that it is a file, and no larger than it may be. */
export async function checkArtifactSize({ path, policy }: Omit<ModelFileCheckOptions, 'folder'>): Promise<void> {
  const { file, size } = await openRegularFile(path);
  await file.close();
  if (size > policy.maxBytes) {
    throw new ModelFileError(`${path} has ${size} bytes, more than ${policy.maxBytes} (ONQUEUE_MODEL_MAX_BYTES).`);
  }
}

/**
 * What a model file is held against before the engine opens it: its size, that it is whole, the operators in it, and
 * what it wants to read beside itself. Blocks the event loop for as long as the file's graph is read.
 *
 * @returns what is in it; undefined for a file in the ORT format, which says nothing that could be held against anything.
 * @throws ModelFileError saying what is wrong, and how it can be allowed where it can.
 */
export async function checkModelFile(options: ModelFileCheckOptions): Promise<OnnxModel | undefined> {
  const { folder, path, policy } = options;
  await checkArtifactSize(options);
  // The engine goes by the name as well.
  if (/\.ort$/i.test(path)) {
    if (policy.allowsOrtFormat) return undefined;
    throw new ModelFileError(
      `${path} is in the ORT format, which this worker does not take (ONQUEUE_MODEL_ORT_FORMAT).`,
    );
  }
  const model = await readOnnxModel(path, { ...ONNX_LIMITS, maxNodes: policy.maxNodes });
  const refused = unknownOperator(model, policy);
  if (refused) throw new ModelFileError(`${path} ${whyRefused(refused, policy)}`);
  await checkExternalData({
    folder,
    base: dirname(path),
    tensors: model.externalData,
    maxBytes: policy.maxExternalBytes,
  }).catch((error: Error) => {
    throw new ModelFileError(`${relative(folder, path)}: ${error.message}`, { cause: error });
  });
  return model;
}

function unknownOperator(model: OnnxModel, { operatorDomains }: ModelFilePolicy): OnnxNode | undefined {
  const domains = new Set(operatorDomains);
  // What these consist of is among the nodes.
  const functions = new Set(model.functions.map(({ domain, name }) => `${domain} ${name}`));
  return model.nodes.find(({ domain, opType }) => !domains.has(domain) && !functions.has(`${domain} ${opType}`));
}

function whyRefused({ opType, domain, name, outputs, place }: OnnxNode, { operatorDomains }: ModelFilePolicy): string {
  const node = name === '' ? `the node that gives "${outputs[0] ?? ''}"` : `the node "${name}"`;
  const where = place === '' ? '' : ` (in ${place})`;
  return (
    `uses the operator ${opType} of the domain "${domain}", by ${node}${where}; this worker takes ` +
    `operators of ${operatorDomains.join(', ')} only. ` +
    (domain === ONNX_DOMAIN ? 'Add it' : `If the engine knows it and you trust the model, add "${domain}"`) +
    ' to ONQUEUE_MODEL_OPERATOR_DOMAINS.'
  );
}

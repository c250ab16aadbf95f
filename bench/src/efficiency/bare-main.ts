import { loadComputeModel } from '../baseline/compute-model.ts';
import { answerParent } from '../bench-child.ts';
import { bareQuestion } from './bare-protocol.ts';

/** The baseline: a process that does nothing but compute, from an array of numbers to an array of scores. */
let model: Awaited<ReturnType<typeof loadComputeModel>> | undefined;

answerParent(async (question) => {
  const { path, batchSize, rows } = bareQuestion.parse(question);
  model ??= await loadComputeModel(path);
  const startedAt = performance.now();
  let left = rows;
  for (; left > 0; left -= batchSize) await model.compute(batchSize);
  return { rowsPerS: ((rows - left) / (performance.now() - startedAt)) * 1000 };
});

import { loadOrtModel } from '../baseline/ort-model.ts';
import { answerParent } from '../bench-child.ts';
import { readWorkload, rowOf } from '../workload.ts';
import { ortQuestion } from './ort-alone-protocol.ts';

/** The baseline: a process that does nothing but score one row after the other, from the row's fields to its score. */
const ready = Promise.all([loadOrtModel(), readWorkload()]);

answerParent(async (question) => {
  const { rows: count } = ortQuestion.parse(question);
  const [model, rows] = await ready;
  const timesMs: number[] = [];
  for (let index = 0; index < count; index++) {
    const { input } = rowOf(rows, index);
    const startedAt = performance.now();
    await model.score(input);
    timesMs.push(performance.now() - startedAt);
  }
  return { timesMs };
});

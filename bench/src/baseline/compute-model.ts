import * as ort from 'onnxruntime-node';
import { SESSION_OPTIONS } from './session-options.ts';

/** The compute-bound model without a platform around it. */
export async function loadComputeModel(path: string): Promise<{ compute(rows: number): Promise<void> }> {
  const session = await ort.InferenceSession.create(path, SESSION_OPTIONS);
  return {
    async compute(rows) {
      const data = Float32Array.from({ length: rows }, (_, row) => row);
      const { score } = await session.run({ value: new ort.Tensor('float32', data, [rows, 1]) }, ['score']);
      if (Math.abs(Number(score?.data[rows - 1]) - (rows - 1)) > 0.01) throw new Error('A score is wrong.');
    },
  };
}

/** What tools around the model repository need of the worker: they read, try and check models just as it does. */
export { fileSha256 } from './models/artifact.ts';
export { type Difference, type GoldenRow, readGoldenRows, worstDifference } from './models/golden-rows.ts';
export { answerOfExport } from './models/hugging-face-answer.ts';
export { ExportError, maxLengthOf, readExportConfig } from './models/hugging-face-files.ts';
export { filePolicyOf, type ModelFilePolicy } from './models/model-file-policy.ts';
export { type RepositoryEntry, readVersionFolder, scanModelRepository } from './models/model-repository.ts';
export { ModelFileError } from './onnx/model-file-error.ts';
export { type OnnxModel, readOnnxModel } from './onnx/onnx-model.ts';
export { type RemovedZipMap, withoutZipMap } from './onnx/zip-map.ts';
export { RunnerProcess } from './runner/runner-process.ts';
export type { InspectedGraph } from './runner/runner-protocol.ts';

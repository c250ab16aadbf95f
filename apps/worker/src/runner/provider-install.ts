import type { ExecutionProvider } from '@onqueue/shared';

const CUDA_LIBRARIES =
  '`npm rebuild onnxruntime-node --ignore-scripts=false` downloads its libraries (Linux x64 only; this project installs packages without their scripts)';

const STEPS: Record<Exclude<ExecutionProvider, 'cpu'>, string> = {
  cuda: `cuda: ${CUDA_LIBRARIES}; the machine needs an NVIDIA driver, CUDA 12 and cuDNN 9.`,
  tensorrt: `tensorrt: ${CUDA_LIBRARIES}; the machine needs an NVIDIA driver, CUDA 12, cuDNN 9 and TensorRT.`,
  webgpu:
    'webgpu: it is in the package (not on Linux arm64); on Linux it needs the Vulkan loader (`apt install libvulkan1`) and a Vulkan driver for the GPU.',
  coreml: 'coreml: it is in the package on macOS only.',
  dml: 'dml: it is in the package on Windows only.',
};

/** What has to be there for an execution provider, in a sentence for the log. */
export function installStep(name: ExecutionProvider): string {
  return name === 'cpu' ? '' : STEPS[name];
}

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Placement } from './inference-engine.ts';

const PROVIDER_NAMES = {
  CPUExecutionProvider: 'cpu',
  CUDAExecutionProvider: 'cuda',
  WebGpuExecutionProvider: 'webgpu',
  TensorrtExecutionProvider: 'tensorrt',
  CoreMLExecutionProvider: 'coreml',
  DmlExecutionProvider: 'dml',
} as const;

const profileEvents = z.array(z.object({ args: z.object({ provider: z.string().optional() }).optional() }));

/**
 * What ONNX Runtime writes down about the runs of a session until it is told to stop. In the working directory, which is the
 * runner's own: whatever ends the runner meanwhile, nothing is left of it.
 */
export class OrtProfile {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<OrtProfile> {
    return new OrtProfile(await mkdtemp(join(process.cwd(), 'profile-')));
  }

  get sessionOptions() {
    return { enableProfiling: true, profileFilePrefix: join(this.#folder, 'session') };
  }

  /** How many operators each provider computed; for after the profiling has ended. Nothing is left on the disk. */
  async read(): Promise<Placement> {
    const placement: Placement = {};
    for (const file of await readdir(this.#folder)) {
      for (const { args } of profileEvents.parse(JSON.parse(await readFile(join(this.#folder, file), 'utf8')))) {
        const name = PROVIDER_NAMES[args?.provider as keyof typeof PROVIDER_NAMES];
        if (name) placement[name] = (placement[name] ?? 0) + 1;
      }
    }
    await this.discard();
    return placement;
  }

  discard(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}

import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ModelManifest } from '@onqueue/shared';
import { MODEL_FILE_POLICY } from '../../../apps/worker/src/models/model-file-policy.ts';
import { CPU_ALONE } from '../../../apps/worker/src/runner/execution-plan.ts';
import { startMemoryWatch } from '../../../apps/worker/src/runner/memory-watch.ts';

/** How far the loading of a file came. */
export type LoadOutcome = {
  end:
    | 'loaded'
    | 'refused by the check'
    | 'refused by the engine'
    | 'refused by manifest or golden rows'
    | 'killed at the deadline'
    | 'killed for its memory'
    | 'crashed the runner';
  detail: string;
  /** What the engine calls its inputs and outputs, where it opened the file. */
  names?: { inputs: string[]; outputs: string[] };
};

type Answer = { type: string; detail: string; isOpened: boolean; names?: LoadOutcome['names'] };

const MAIN = fileURLToPath(new URL('./model-loads-main.mjs', import.meta.url));

/**
 * Loads files as runners do, many in one process for speed: it is replaced when one of them ends it, or takes too long or
 * too much memory.
 */
export class ModelLoader {
  readonly #limits: { deadlineMs: number; memoryBytes: number };
  readonly #cwd = mkdtempSync(join(tmpdir(), 'onqueue-loader-'));
  #child: ChildProcess | undefined;
  #output = '';
  #loads = 0;

  constructor(limits: { deadlineMs: number; memoryBytes: number }) {
    this.#limits = limits;
  }

  async load(model: { folder: string; manifest: ModelManifest }): Promise<LoadOutcome> {
    const child = this.#ready();
    const message = {
      type: 'load',
      ...model,
      intraOpNumThreads: 1,
      execution: CPU_ALONE,
      filePolicy: MODEL_FILE_POLICY,
      golden: 'must_match',
    };
    let killed: LoadOutcome['end'] | undefined;
    const kill = (reason: LoadOutcome['end']) => {
      killed ??= reason;
      child.kill('SIGKILL');
    };
    const deadline = setTimeout(() => kill('killed at the deadline'), this.#limits.deadlineMs);
    const memory = startMemoryWatch({
      pid: child.pid ?? -1,
      limitBytes: this.#limits.memoryBytes,
      onExceeded: () => kill('killed for its memory'),
    });
    const answer = await new Promise<Answer | string>((resolve) => {
      const onMessage = (received: unknown) => {
        child.off('close', onClose);
        resolve(received as Answer);
      };
      const onClose = (code: number | null, signal: string | null) => {
        child.off('message', onMessage);
        resolve(`${signal ?? `code ${code}`} ${this.#output}`);
      };
      child.once('message', onMessage).once('close', onClose);
      child.send({ id: this.#loads++, message });
    });
    clearTimeout(deadline);
    memory.stop();
    if (typeof answer === 'string') {
      this.#child = undefined;
      return { end: killed ?? 'crashed the runner', detail: answer };
    }
    const { type, detail, isOpened, names } = answer;
    return { end: endOf(type, isOpened, names !== undefined), detail, ...(names ? { names } : {}) };
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child) {
      const closed = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      await closed;
    }
    rmSync(this.#cwd, { recursive: true, force: true });
  }

  #ready(): ChildProcess {
    if (this.#child) return this.#child;
    this.#output = '';
    this.#child = fork(MAIN, [], {
      cwd: this.#cwd,
      env: { PATH: process.env.PATH, UV_THREADPOOL_SIZE: '1' },
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-2000);
      });
    }
    return this.#child;
  }
}

function endOf(type: string, isOpened: boolean, hasSession: boolean): LoadOutcome['end'] {
  if (type === 'loaded') return 'loaded';
  if (!isOpened) return 'refused by the check';
  return hasSession ? 'refused by manifest or golden rows' : 'refused by the engine';
}

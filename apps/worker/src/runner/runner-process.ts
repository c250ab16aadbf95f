import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ModelManifest } from '@onqueue/shared';
import { MODEL_FILE_POLICY, type ModelFilePolicy } from '../models/model-file-policy.ts';
import { type GraphOutline, graphOutline } from '../onnx/graph-outline.ts';
import { BatchPipeline, type RunnerBatch, type RunnerBatchOptions } from './batch-pipeline.ts';
import { CPU_ALONE, type ExecutionPlan } from './execution-plan.ts';
import { type Heartbeat, startHeartbeat } from './heartbeat.ts';
import { type MemoryWatch, startMemoryWatch } from './memory-watch.ts';
import { runnerEnvironment } from './runner-environment.ts';
import { RunnerBatchError, RunnerCrashedError, type RunnerExit, RunnerStartError } from './runner-errors.ts';
import {
  type InspectedGraph,
  inspectedGraph,
  type LoadedModel,
  loadedModel,
  type RunnerMessage,
  runnerMessage,
  type SupervisorMessage,
} from './runner-protocol.ts';

type ProcessOptions = {
  intraOpNumThreads: number;
  /** The cpu unless given. */
  execution?: ExecutionPlan | undefined;
  /** From the fork to ready: checksum, session, golden rows. */
  startTimeoutMs: number;
  /** What the artifact may be; by default what the settings say by default. */
  filePolicy?: ModelFilePolicy;
  /** Memory of its own with which a runner is killed, while it loads and after; 0: any. */
  memoryLimitBytes?: number;
  /** The supervisor's environment, of which a few harmless variables are passed on. */
  env: Readonly<Record<string, string | undefined>>;
  /** How an idle runner is asked whether it is there; one that does not say so is killed. */
  heartbeat?: { intervalMs: number; timeoutMs: number };
  /** The compiled runner-main; by default the one that belongs to this file. */
  entry?: string;
  /** Gives up starting, and kills what was started. */
  signal?: AbortSignal;
};

export type RunnerProcessOptions = ProcessOptions & {
  /** Absolute path of the version's folder. */
  folder: string;
  manifest: ModelManifest;
  /** Whether the golden rows are replayed, which a version has to pass before it serves; they are unless given. */
  golden?: 'must_match' | 'not_compared';
};

/** A runner as its owner sees it: it computes one batch at a time until it exits, and holds those that come meanwhile. */
export type Runner = {
  readonly pid: number;
  readonly loaded: LoadedModel;
  /** False from the moment on that the process is doomed, which is a little before `exited`. */
  readonly isAlive: boolean;
  readonly exited: Promise<RunnerExit>;
  /**
   * Computes a batch, within a time from when its turn comes and unless a signal aborts. Rejects with a `RunnerBatchError`
   * (the engine refused the batch, the runner lives), a `RunnerTimeoutError`, `RunnerAbortedError` or `RunnerCrashedError`
   * (the runner is gone), or a `RunnerRecalledError` (the runner is gone, or the batch was recalled, before its turn).
   */
  run(rows: readonly unknown[], options: RunnerBatchOptions): RunnerBatch;
  /** Runs a golden row in place of a batch, and rejects as `run` does; a row that fails alone is refused too. */
  probe(timeoutMs: number, signal?: AbortSignal): Promise<void>;
  kill(cause: RunnerExit['cause']): void;
  stop(graceMs?: number): Promise<RunnerExit>;
};

const OUTPUT_CHARACTERS = 4096;

/** Idle runners answer within a millisecond; five seconds are for machines that are starved. */
const HEARTBEAT = { intervalMs: 2000, timeoutMs: 5000 };

/**
 * One runner child process.
 *
 * starting -- loaded --> ready <-- run, result --> busy; any -- exit --> exited. A batch that passes its deadline (see
 * BatchPipeline), a failed load, a ping without an answer, and a stop that is not heeded end in SIGKILL: an inference cannot be interrupted in
 * any other way.
 */
export class RunnerProcess implements Runner {
  readonly exited: Promise<RunnerExit>;
  readonly #child: ChildProcess;
  #loaded: LoadedModel | undefined;
  #starting: { resolve: (message: RunnerMessage) => void; reject: (error: Error) => void } | undefined;
  readonly #pipeline: BatchPipeline;
  #heartbeat: Heartbeat | undefined;
  #memoryWatch: MemoryWatch | undefined;
  /** Why the process is about to end, once that is decided; `crash` when nobody decided it. */
  #endCause: RunnerExit['cause'] | undefined;
  #hasExited = false;
  #output = '';

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#pipeline = new BatchPipeline({
      send: (message) => this.#send(message),
      kill: (cause) => this.kill(cause),
    });
    child.on('message', (raw) => this.#understand(raw));
    for (const stream of [child.stdout, child.stderr]) this.#collect(stream);
    // Nobody writes to the lifeline; a reset while the child dies is no news.
    child.stdin?.on('error', () => undefined);
    this.exited = this.#watchExit(folder);
  }

  /** Forks, loads and warms up. Rejects with a `RunnerStartError`; nothing is left running then. */
  static async start(options: RunnerProcessOptions): Promise<RunnerProcess> {
    const runner = await RunnerProcess.#fork(options);
    const { intraOpNumThreads, folder, manifest, golden = 'must_match', execution = CPU_ALONE } = options;
    try {
      const { filePolicy = MODEL_FILE_POLICY } = options;
      const message = { type: 'load', folder, manifest, intraOpNumThreads, execution, golden, filePolicy } as const;
      runner.#loaded = loadedModel.parse(await runner.#begin(message, options));
    } catch (error) {
      runner.kill('stopped');
      await runner.exited;
      throw error;
    }
    runner.#startHeartbeat(options.heartbeat ?? HEARTBEAT);
    return runner;
  }

  /** What the graph of a file takes and gives, as the engine reads it. Rejects as `start` does. */
  static async inspect(options: ProcessOptions & { path: string }): Promise<InspectedGraph> {
    const { intraOpNumThreads, path, filePolicy = MODEL_FILE_POLICY } = options;
    return inspectedGraph.parse(
      await RunnerProcess.#ask({ type: 'inspect', path, intraOpNumThreads, filePolicy }, options),
    );
  }

  /** The same as the file itself says it, without opening it for the engine. Rejects as `start` does. */
  static async outline(options: ProcessOptions & { path: string }): Promise<GraphOutline> {
    const { path, filePolicy = MODEL_FILE_POLICY } = options;
    const answer = await RunnerProcess.#ask({ type: 'outline', path, filePolicy }, options);
    return graphOutline.parse('outline' in answer ? answer.outline : undefined);
  }

  /** One question to a process that is ended with its answer. */
  static async #ask(question: SupervisorMessage, options: ProcessOptions): Promise<RunnerMessage> {
    const runner = await RunnerProcess.#fork(options);
    try {
      return await runner.#begin(question, options);
    } finally {
      runner.kill('stopped');
      await runner.exited;
    }
  }

  static async #fork(options: ProcessOptions): Promise<RunnerProcess> {
    // An empty folder of its own: what the engine finds or leaves in its working directory is nobody else's.
    const cwd = await mkdtemp(join(tmpdir(), 'onqueue-runner-'));
    const { intraOpNumThreads } = options;
    const child = fork(options.entry ?? defaultEntry(), [], {
      cwd,
      env: runnerEnvironment(options.env, { intraOpNumThreads }),
      execArgv: [],
      serialization: 'advanced',
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    });
    const runner = new RunnerProcess(child, cwd);
    runner.#watchMemory(options.memoryLimitBytes ?? 0);
    return runner;
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get loaded(): LoadedModel {
    if (!this.#loaded) throw new Error('The runner is not loaded yet. This is a bug.');
    return this.#loaded;
  }

  get isAlive(): boolean {
    return !this.#hasExited && this.#endCause === undefined && this.#child.connected;
  }

  run(rows: readonly unknown[], options: RunnerBatchOptions): RunnerBatch {
    return this.#pipeline.push(rows, options);
  }

  async probe(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { results } = await this.#pipeline.push(undefined, { timeoutMs, signal }).answer;
    const [result] = results;
    if (result?.status === 'failed') throw new RunnerBatchError('inference_failed', result.error.detail);
  }

  kill(cause: RunnerExit['cause']): void {
    this.#endCause ??= cause;
    this.#heartbeat?.stop();
    this.#pipeline.doom();
    this.#child.kill('SIGKILL');
  }

  /** Asks the runner to end, and kills it after `graceMs`. A batch that it computes is lost. */
  async stop(graceMs = 2000): Promise<RunnerExit> {
    if (this.#hasExited || this.#endCause) return this.exited;
    this.#endCause = 'stopped';
    this.#heartbeat?.stop();
    this.#pipeline.doom();
    this.#send({ type: 'stop' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  /** The answer to the first message. */
  async #begin(message: SupervisorMessage, { startTimeoutMs, signal }: ProcessOptions): Promise<RunnerMessage> {
    const fail = (reason: RunnerStartError['reason'], detail: string) =>
      this.#starting?.reject(new RunnerStartError(reason, detail));
    const onAbort = () => fail('crash', 'The start of the runner was given up.');
    const timer = setTimeout(
      () => fail('timeout', `The runner was not ready within ${startTimeoutMs} ms.`),
      startTimeoutMs,
    );
    try {
      return await new Promise<RunnerMessage>((resolve, reject) => {
        this.#starting = { resolve, reject };
        signal?.addEventListener('abort', onAbort, { once: true });
        if (signal?.aborted) onAbort();
        this.#send(message);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.#starting = undefined;
    }
  }

  #watchMemory(limitBytes: number): void {
    if (limitBytes === 0 || this.#hasExited) return;
    this.#memoryWatch = startMemoryWatch({
      pid: this.pid,
      limitBytes,
      onExceeded: (bytes) => {
        const detail = `It had taken ${bytes} bytes of memory, more than ${limitBytes} (ONQUEUE_RUNNER_MEMORY_LIMIT_BYTES).`;
        this.#output = `${this.#output}\n${detail}`.trim();
        this.#starting?.reject(new RunnerStartError('load_failed', `The runner was killed while it loaded. ${detail}`));
        this.kill('memory');
      },
    });
  }

  #startHeartbeat(times: NonNullable<RunnerProcessOptions['heartbeat']>): void {
    if (!this.isAlive) return;
    this.#heartbeat = startHeartbeat({
      ...times,
      isBusy: () => !this.#pipeline.isEmpty,
      ping: () => this.#send({ type: 'ping' }),
      onSilent: () => this.kill('silent'),
    });
  }

  #send(message: SupervisorMessage): void {
    // A channel that fails belongs to a process that is gone, or as good as: `exited` tells the rest.
    this.#child.send(message, (error) => {
      if (error && !this.#endCause) this.kill('crash');
    });
  }

  /** What a model has made of its runner is not known: one that speaks another language is ended, and does not end us. */
  #understand(raw: unknown): void {
    const message = runnerMessage.safeParse(raw);
    if (message.success) {
      this.#receive(message.data);
      return;
    }
    this.#output = `${this.#output}\nIt sent what no runner sends.`.trim();
    this.kill('crash');
  }

  #receive(message: RunnerMessage): void {
    switch (message.type) {
      case 'loaded':
      case 'inspected':
      case 'outlined':
        this.#starting?.resolve(message);
        break;
      case 'load_failed':
        this.#starting?.reject(new RunnerStartError('load_failed', message.detail));
        break;
      case 'pong':
        this.#heartbeat?.heard();
        break;
      case 'result': {
        const { results, timings, cpu_ms, rss_bytes } = message;
        this.#pipeline.answered(message.id, { results, timings, cpu_ms, rss_bytes });
        break;
      }
      case 'batch_failed':
        this.#pipeline.answered(message.id, new RunnerBatchError(message.code, message.detail));
        break;
      case 'dropped':
        this.#pipeline.answered(message.id, undefined);
    }
  }

  #collect(stream: Readable | null): void {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      this.#output = (this.#output + text).slice(-OUTPUT_CHARACTERS);
    });
  }

  #watchExit(folder: string): Promise<RunnerExit> {
    return new Promise<RunnerExit>((resolve) => {
      const onExit = (code: number | null, signal: NodeJS.Signals | null) => {
        if (this.#hasExited) return;
        this.#hasExited = true;
        this.#heartbeat?.stop();
        this.#memoryWatch?.stop();
        const exit = { cause: this.#endCause ?? 'crash', code, signal, output: this.#output };
        const error = new RunnerCrashedError(exit);
        this.#starting?.reject(new RunnerStartError('crash', `${error.message} ${this.#output}`.trim()));
        this.#pipeline.end(error);
        void rm(folder, { recursive: true, force: true }).finally(() => resolve(exit));
      };
      // `close` comes after the last of the output; a process that could not be forked has only `error`.
      this.#child.once('close', onExit);
      this.#child.on('error', (error) => {
        this.#output += error.message;
        if (this.#child.pid === undefined) onExit(null, null);
      });
    });
  }
}

/** Only the compiled entry can be forked; sources that run under jest find it in the dist folder beside `src`. */
function defaultEntry(): string {
  const beside = fileURLToPath(new URL('./runner-main.js', import.meta.url));
  return beside.replace(/([\\/])src([\\/]runner[\\/]runner-main\.js)$/, '$1dist$2');
}

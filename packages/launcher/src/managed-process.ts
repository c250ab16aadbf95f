import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { guard, release } from './guardian.ts';
import { LogBuffer } from './log-buffer.ts';

/** How a process ended: one of the two is set. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface ManagedProcessOptions {
  command: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  onLine?: (line: string) => void;
}

/**
 * A process that we start, read and end. It has a process group of its own, so that Ctrl-C in a terminal reaches us
 * alone and we decide in which order things stop; the guardian ends it if we die first.
 */
export class ManagedProcess {
  readonly pid: number;
  /** Resolves when the process has ended and its output is read. */
  readonly exited: Promise<Exit>;
  readonly output: LogBuffer;
  readonly #child: ChildProcess;
  #hasExited = false;

  /** @throws the error of spawn(2), such as ENOENT. */
  static async start(options: ManagedProcessOptions): Promise<ManagedProcess> {
    const child = spawn(options.command, options.args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    if (child.pid === undefined) {
      const [error] = await once(child, 'error');
      throw error;
    }
    return new ManagedProcess(child, child.pid, options.onLine);
  }

  private constructor(child: ChildProcess, pid: number, onLine: ((line: string) => void) | undefined) {
    this.#child = child;
    this.pid = pid;
    this.output = new LogBuffer(onLine === undefined ? {} : { onLine });
    guard(pid);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => this.output.append(chunk));
    }
    // Node sends signals to a child only while it has not been reaped, so a late one cannot hit a stranger's process.
    child.on('error', () => undefined);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#hasExited = true;
        release(pid);
        const finish = () => {
          clearTimeout(timer);
          child.stdout?.destroy();
          child.stderr?.destroy();
          this.output.end();
          resolve({ code, signal });
        };
        // Grandchildren may hold the pipes open; their words are not worth waiting for.
        const timer = setTimeout(finish, OUTPUT_GRACE_MS);
        child.once('close', finish);
      });
    });
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#hasExited) this.#child.kill(signal);
  }

  /** Asks with `signal`, and ends the process with SIGKILL when it is still there after the deadline. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', deadlineMs = 10_000): Promise<Exit> {
    this.signal(signal);
    // A process that was stopped (SIGSTOP) sees the request only when it runs again.
    this.signal('SIGCONT');
    const timer = setTimeout(() => this.signal('SIGKILL'), deadlineMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }
}

const OUTPUT_GRACE_MS = 200;

/** "exit code 1" or "SIGKILL". */
export function describeExit({ code, signal }: Exit): string {
  return signal ?? `exit code ${code}`;
}

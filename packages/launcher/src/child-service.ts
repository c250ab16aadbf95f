import { createWriteStream, type WriteStream } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type HttpAnswer, httpGet } from './http-get.ts';
import { LaunchError } from './launch-error.ts';
import { describeExit, type Exit, ManagedProcess } from './managed-process.ts';
import { isFatalLine, statedReason } from './stated-reason.ts';

/** Where a process's lines go besides the memory: nowhere, to our own stdout, or to the end of a file. */
export type LogTarget = 'quiet' | 'inherit' | { file: string };

export interface ChildServiceOptions {
  /** As it is called in messages: `api`, `worker`. */
  name: string;
  /** A JavaScript file that Node runs. */
  entry: string;
  args?: readonly string[];
  /** Node's own flags, such as `--enable-source-maps`. */
  nodeArgs?: readonly string[];
  /** The whole environment of the process. */
  env: NodeJS.ProcessEnv;
  /** Where it serves `/readyz`. */
  baseUrl: string;
  cwd?: string;
  log?: LogTarget;
  /** Default 60 s. */
  readyTimeoutMs?: number;
  /** Whether an answer of `/readyz` says that it waits for somebody else: the deadline is put off for as long as it does. */
  isWaiting?: (answer: HttpAnswer) => boolean;
  /** Told once, when it has waited for some seconds. */
  onWaiting?: () => void;
}

/** A process of the platform: starting → ready → exited. */
export interface ChildService {
  readonly name: string;
  readonly baseUrl: string;
  readonly pid: number;
  /** Resolves when `/readyz` answers 200; rejects with a LaunchError when the process ends first or takes too long. */
  readonly ready: Promise<void>;
  readonly exited: Promise<Exit>;
  readonly hasExited: boolean;
  /** The newest lines of stdout and stderr, oldest first. */
  logs(): string[];
  /** Asks (default SIGTERM) and waits; SIGKILL after the deadline (default 30 s, more than a worker takes to drain). */
  stop(signal?: NodeJS.Signals, deadlineMs?: number): Promise<Exit>;
  /** SIGKILL. */
  kill(): Promise<Exit>;
  /** SIGSTOP, as a machine that hangs. */
  pause(): void;
  resume(): void;
}

/** Resolves when the process runs; await `ready` to talk to it. */
export async function startChildService(options: ChildServiceOptions): Promise<ChildService> {
  const sink = openSink(options.log ?? 'quiet');
  const terminal = options.log === 'inherit' ? holdFatalLines(sink.write) : { write: sink.write, release: () => {} };
  const child = await ManagedProcess.start({
    command: process.execPath,
    args: [...(options.nodeArgs ?? []), options.entry, ...(options.args ?? [])],
    env: options.env,
    onLine: terminal.write,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const exited = child.exited.then((exit) => {
    sink.close();
    return exit;
  });
  const ready = untilReady(options, child);
  // Who does not wait for `ready` learns of the end through `exited`.
  ready.then(terminal.release, () => {
    if (statedReason(child.output.lines()) === undefined) terminal.release();
  });
  return {
    name: options.name,
    baseUrl: options.baseUrl,
    pid: child.pid,
    ready,
    exited,
    get hasExited() {
      return child.hasExited;
    },
    logs: () => child.output.lines(),
    stop: (signal = 'SIGTERM', deadlineMs = STOP_DEADLINE_MS) => child.stop(signal, deadlineMs).then(() => exited),
    kill: () => child.stop('SIGKILL').then(() => exited),
    pause: () => child.signal('SIGSTOP'),
    resume: () => child.signal('SIGCONT'),
  };
}

/** What a service said last, for a message about its end. */
export function lastWords(service: Pick<ChildService, 'logs'>, count = 5): string {
  const lines = service.logs().filter((line) => line.trim() !== '');
  return lines.slice(-count).join('\n  ') || '(it wrote nothing)';
}

const STOP_DEADLINE_MS = 30_000;
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
/** Every start waits for a moment until it is connected; that is not worth a word. */
const NOTABLE_WAIT_MS = 2000;

async function untilReady(options: ChildServiceOptions, child: ManagedProcess): Promise<void> {
  const { name, baseUrl, readyTimeoutMs = READY_TIMEOUT_MS, isWaiting = () => false, onWaiting } = options;
  const startedAt = performance.now();
  let hasToldOfWait = false;
  let deadline = startedAt + readyTimeoutMs;
  while (!child.hasExited) {
    const answer = await httpGet(`${baseUrl}/readyz`).catch(() => undefined);
    const now = performance.now();
    if (answer?.status === 200 && !child.hasExited) return;
    if (answer && isWaiting(answer)) {
      deadline = now + readyTimeoutMs;
      if (!hasToldOfWait && now - startedAt > NOTABLE_WAIT_MS) {
        hasToldOfWait = true;
        onWaiting?.();
      }
    }
    if (now > deadline) throw tooLate(name, readyTimeoutMs, child);
    await Promise.race([delay(POLL_MS), child.exited]);
  }
  throw endedEarly(name, await child.exited, child);
}

function tooLate(name: string, timeoutMs: number, { output }: ManagedProcess): LaunchError {
  const words = lastWords({ logs: () => output.lines() });
  return new LaunchError(`The ${name} was not ready after ${timeoutMs / 1000} s. Its last lines:\n  ${words}`);
}

function endedEarly(name: string, exit: Exit, { output }: ManagedProcess): LaunchError {
  // Our processes end with 1 when they have said what is to be mended.
  const reason = exit.code === 1 ? statedReason(output.lines()) : undefined;
  if (reason !== undefined) return new LaunchError(`The ${name} did not start: ${reason}`);
  const words = lastWords({ logs: () => output.lines() });
  return new LaunchError(`The ${name} ended before it was ready (${describeExit(exit)}). Its last lines:\n  ${words}`);
}

/** Who reads along is told why a start failed in one line, by the LaunchError: not by the process in JSON as well. */
function holdFatalLines(write: (line: string) => void) {
  let held: string[] | undefined = [];
  return {
    write: (line: string) => void (held && isFatalLine(line) ? held.push(line) : write(line)),
    release: () => {
      for (const line of held ?? []) write(line);
      held = undefined;
    },
  };
}

function openSink(target: LogTarget): { write: (line: string) => void; close: () => void } {
  if (target === 'quiet') return { write: () => undefined, close: () => undefined };
  if (target === 'inherit') return { write: (line) => void process.stdout.write(`${line}\n`), close: () => undefined };
  const file: WriteStream = createWriteStream(target.file, { flags: 'a' });
  // A full disk must not end the platform: the lines are still in memory.
  file.on('error', () => undefined);
  return { write: (line) => void file.write(`${line}\n`), close: () => void file.end() };
}

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { MeasurementError } from './bench.ts';
import type { Cleanup } from './cleanup.ts';

/** A child process of a bench that answers one question at a time. It ends with us, however we end. */
export interface BenchChild {
  readonly pid: number;
  /** Resolves with the parsed answer. @throws MeasurementError when the child ends or does not answer in time. */
  ask<Schema extends z.ZodType>(question: object, answer: Schema, timeoutMs: number): Promise<z.output<Schema>>;
  stop(): Promise<void>;
}

/** Starts a compiled file of the bench. Its output goes to our stderr: stdout belongs to the result. */
export function forkBenchChild(entry: URL, cleanup: Cleanup): BenchChild {
  const path = fileURLToPath(entry);
  const child = fork(path, [], { stdio: ['ignore', 2, 2, 'ipc'], execArgv: [], serialization: 'advanced' });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const stop = cleanup.add(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return {
    pid: child.pid ?? -1,
    ask: (question, answer, timeoutMs) => ask(child, exited, { question, answer, timeoutMs, path }),
    stop,
  };
}

/** The child's side: answers every message, and ends when the parent is gone. */
export function answerParent(handle: (question: unknown) => Promise<object>): void {
  // Ctrl-C reaches the whole group; the parent decides when we end.
  process.on('SIGINT', () => undefined);
  process.on('disconnect', () => process.exit(0));
  process.on('message', (question) => {
    handle(question).then(
      (answer) => process.send?.(answer),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
}

interface Question<Schema> {
  question: object;
  answer: Schema;
  timeoutMs: number;
  path: string;
}

async function ask<Schema extends z.ZodType>(
  child: ChildProcess,
  exited: Promise<void>,
  { question, answer, timeoutMs, path }: Question<Schema>,
): Promise<z.output<Schema>> {
  let timer: NodeJS.Timeout | undefined;
  let onMessage: ((message: unknown) => void) | undefined;
  try {
    const reply = await new Promise<unknown>((resolve, reject) => {
      onMessage = resolve;
      child.once('message', resolve);
      timer = setTimeout(() => reject(new MeasurementError(`${path} did not answer in ${timeoutMs} ms.`)), timeoutMs);
      void exited.then(() => reject(new MeasurementError(`${path} ended before it answered.`)));
      child.send(question, (error) => {
        if (error) reject(new MeasurementError(`${path} cannot be asked: ${error.message}`));
      });
    });
    return answer.parse(reply);
  } finally {
    clearTimeout(timer);
    if (onMessage) child.off('message', onMessage);
  }
}

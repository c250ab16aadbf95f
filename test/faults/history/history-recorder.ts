import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HistoryEvent } from './history-event.ts';

type WithoutTime<Event> = Event extends unknown ? Omit<Event, 'at'> : never;

/** Writes a history as it happens, one JSON line an event, so that it survives whoever records it. */
export class HistoryRecorder {
  readonly file: string;
  readonly lines: string[] = [];
  readonly #folder: string;
  readonly #startedAtMs = performance.now();

  constructor({ scenario, seed }: { scenario: string; seed: number }) {
    this.#folder = mkdtempSync(join(tmpdir(), 'onqueue-history-'));
    this.file = join(this.#folder, 'history.jsonl');
    this.record({ kind: 'begin', scenario, seed });
  }

  /** Milliseconds since the history began. */
  now(): number {
    return performance.now() - this.#startedAtMs;
  }

  record(event: WithoutTime<HistoryEvent>): void {
    const line = JSON.stringify({ ...event, at: this.now() });
    this.lines.push(line);
    appendFileSync(this.file, `${line}\n`);
  }

  /** Forgets the file; what was a history without fault interests nobody. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

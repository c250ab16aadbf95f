import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The file in which armed processes write down the fault points that they pass. */
export class FaultTrace {
  readonly #folder = mkdtempSync(join(tmpdir(), 'onqueue-trace-'));
  readonly #file = join(this.#folder, 'visits');

  /** For a process that traces, and does what the faults say: `claim.after=kill`. */
  env(...faults: string[]): { ONQUEUE_FAULT_POINTS: string } {
    return { ONQUEUE_FAULT_POINTS: [`trace=${this.#file}`, ...faults].join(',') };
  }

  /** The names that were passed by any process, or by that of this pid. */
  visited(pid?: number): Set<string> {
    const lines = existsSync(this.#file) ? readFileSync(this.#file, 'utf8').trimEnd().split('\n') : [];
    const visits = lines.map((line) => line.split(' '));
    return new Set(visits.flatMap(([by, name]) => (name && (pid === undefined || by === String(pid)) ? [name] : [])));
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

import type { Bench } from './bench.ts';
import type { MachineDescription } from './machine.ts';
import type { RoundsResult } from './rounds.ts';

/** The one line that `--json` ends with: medians, spreads and the number of rounds, for scripts to read. */
export function jsonLine(bench: string, { medians, spreads, rounds }: RoundsResult): string {
  return JSON.stringify({ bench, figures: medians, spread: spreads, rounds });
}

/** The table for people: the machine, one line a figure, and how many rounds were not believed. */
export function humanReport(bench: Bench, result: RoundsResult, machine: MachineDescription): string {
  const names = Object.keys(bench.figures).filter((name) => name in result.medians);
  const rows = names.map((name) => {
    const [min = Number.NaN, max = Number.NaN] = result.spreads[name] ?? [];
    return [name, number(result.medians[name]), number(min), number(max), bench.figures[name] ?? ''];
  });
  const table = [['figure', 'median', 'min', 'max', ''], ...rows];
  return [
    `${bench.name}: ${bench.summary}`,
    Object.entries(machine)
      .map(([field, value]) => `${field}: ${value}`)
      .join('; '),
    '',
    ...aligned(table),
    '',
    `${result.rounds} rounds; ${result.voided} voided and repeated, ${result.noisy} kept although their control was bad.`,
  ].join('\n');
}

/** Four significant digits at most: more than that is noise. */
function number(value = Number.NaN): string {
  if (Number.isNaN(value)) return '-';
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** Columns padded to the same width: the first and the last to the right, numbers to the left. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, column) => Math.max(cell.length, widest[column] ?? 0)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 || column === row.length - 1 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
}

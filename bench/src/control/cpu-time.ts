import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts CPU time in ticks of 10 ms, on every architecture that Node runs on. */
const MS_PER_TICK = 10;

/**
 * CPU time that the whole machine has spent so far, on anything, over all cores, milliseconds; time that the host
 * withheld from this virtual machine (steal) counts as spent. Undefined where there is no /proc.
 */
export function machineCpuMs(): number | undefined {
  const line = read('/proc/stat')?.split('\n')[0];
  if (line === undefined) return undefined;
  // user nice system idle iowait irq softirq steal; guest time is part of user.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) * MS_PER_TICK;
}

/** CPU time of these processes and all below them, also of those that have ended; undefined without /proc. */
export function treeCpuMs(roots: readonly number[]): number | undefined {
  const processes = readProcesses();
  if (processes.size === 0) return undefined;
  const childrenOf = new Map<number, number[]>();
  for (const [pid, { parent }] of processes) childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), pid]);
  const tree = new Set(roots);
  for (const pid of tree) for (const child of childrenOf.get(pid) ?? []) tree.add(child);
  return [...tree].reduce((sum, pid) => sum + (processes.get(pid)?.cpuMs ?? 0), 0);
}

function readProcesses(): Map<number, { parent: number; cpuMs: number }> {
  const processes = new Map<number, { parent: number; cpuMs: number }>();
  for (const name of process.platform === 'linux' ? readdirSync('/proc') : []) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? read(`/proc/${pid}/stat`) : undefined;
    if (stat === undefined) continue;
    // The name in parentheses may hold blanks: what follows it starts at field 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const field = (position: number) => Number(fields[position - 3]);
    // 14-17: user and system time, of itself and of its children that ended.
    const ticks = field(14) + field(15) + field(16) + field(17);
    processes.set(pid, { parent: field(4), cpuMs: ticks * MS_PER_TICK });
  }
  return processes;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // No /proc here, or the process has ended.
  }
}

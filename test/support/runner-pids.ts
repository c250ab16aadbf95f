import { execFileSync } from 'node:child_process';

/** The runner processes of a worker, by their parent. */
export function runnerPidsOf(workerPid: number | undefined): number[] {
  const table = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
  return table.split('\n').flatMap((line) => {
    const [, pid, ppid, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return Number(ppid) === workerPid && args?.includes('runner-main') ? [Number(pid)] : [];
  });
}

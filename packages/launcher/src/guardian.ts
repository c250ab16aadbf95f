import { type ChildProcess, spawn } from 'node:child_process';

/**
 * Keeps what we start from outliving us. An 'exit' handler is not enough: it does not run when we are killed, when a
 * signal ends us by default, or inside a jest context. So a shell waits at the end of a pipe that only we hold; when we
 * are gone, however that came about, the kernel closes the pipe and the shell ends every process on the last list that
 * it read. One shell serves all processes and leaves with the last of them.
 */
export function guard(pid: number): void {
  guarded.add(pid);
  tell();
}

/** The process has ended: its id may soon belong to somebody else. */
export function release(pid: number): void {
  if (guarded.delete(pid)) tell();
}

const guarded = new Set<number>();
let shell: ChildProcess | undefined;

/** SIGCONT, because a stopped process acts on SIGTERM only when it runs again; SIGKILL for who ignores both for 10 s. */
const SCRIPT = `
pids=
while read -r line; do pids=$line; done
[ -n "$pids" ] || exit 0
kill -TERM $pids; kill -CONT $pids
for _ in 1 2 3 4 5 6 7 8 9 10; do
  alive=; for pid in $pids; do kill -0 $pid && alive="$alive $pid"; done
  [ -n "$alive" ] || exit 0
  pids=$alive; sleep 1
done
kill -KILL $pids
`;

function tell(): void {
  shell ??= startShell();
  shell.stdin?.write(`${[...guarded].join(' ')}\n`);
  if (guarded.size > 0) return;
  shell.stdin?.end();
  shell = undefined;
}

function startShell(): ChildProcess {
  // Detached: Ctrl-C goes to the whole foreground group of the terminal, and the guardian must outlast us.
  const child = spawn('/bin/sh', ['-c', SCRIPT], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  // Without a shell there is no guardian, and nothing else changes.
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
}

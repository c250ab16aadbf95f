import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { LaunchError } from './launch-error.ts';

/**
 * Lets a Redis that has loaded a truncated append-only file write it anew, and waits until it has.
 *
 * What a script writes is a transaction in that file. Cut in the middle of a command of one (a power cut), Redis loads
 * all before the transaction, but leaves its beginning in the file and appends to it: the next start runs that half, with
 * what came later, as one transaction, or drops both. Valkey has mended it (valkey-io/valkey#4342), Redis 7 has not.
 *
 * @throws LaunchError when it does not get done.
 */
export async function repairAppendOnlyFile({ port, pid, logFile }: { port: number; pid: number; logFile: string }) {
  if (!(await hasLoadedTruncated(pid, logFile))) return;
  const deadline = performance.now() + REWRITE_TIMEOUT_MS;
  await ask(port, 'BGREWRITEAOF');
  for (;;) {
    const answer = await ask(port, 'INFO persistence');
    const isUnderWay = /aof_rewrite_(in_progress|scheduled):1/.test(answer);
    if (!isUnderWay && /aof_last_bgrewrite_status:ok/.test(answer)) return;
    if (!isUnderWay || performance.now() > deadline) {
      throw new LaunchError(`redis-server could not write its truncated append-only file anew; ${logFile} says why.`);
    }
    await delay(POLL_MS);
  }
}

const REWRITE_TIMEOUT_MS = 600_000;
const POLL_MS = 15;
const ANSWER_TIMEOUT_MS = 30_000;

/** Nothing but its log tells. */
async function hasLoadedTruncated(pid: number, logFile: string): Promise<boolean> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return new RegExp(`^${pid}:.*loaded anyway because aof-load-truncated`, 'm').test(text);
}

/** One command over a bare socket: the launcher needs no Redis client. */
async function ask(port: number, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error(`redis-server does not answer ${command}`)));
  socket.write(`${command}\r\nQUIT\r\n`);
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

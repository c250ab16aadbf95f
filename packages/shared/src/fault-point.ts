import { appendFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError } from './config.ts';

/**
 * Where a process may die on the way of a job, in the order of that way. Each stands where one step has been taken and
 * the next one has not: tests kill a process at every one of them.
 */
export const FAULT_POINTS = [
  'enqueue.before',
  'inputs.stored.after',
  'enqueue.after',
  'cancel.after',
  'retry.after',
  'endpoint.subscribed.after',
  'endpoint.changed.after',
  'marker.after',
  'claim.before',
  'claim.after',
  'score.before',
  'score.after',
  'results.stored.after',
  'commit.before',
  'commit.after',
  'requeue.before',
  'requeue.after',
  'attempt.failed.before',
  'attempt.failed.after',
  'finish.after',
  'renew.before',
  'renew.after',
  'sweep.stalled.before',
  'sweep.stalled.after',
  'sweep.deadlines.before',
  'sweep.deadlines.after',
  'relay.read.after',
  'relay.add.before',
  'relay.add.after',
  'relay.acknowledge.before',
  'relay.acknowledge.after',
  'relay.reclaim.before',
  'relay.reclaim.after',
  'delivery.before',
  'delivery.after',
] as const;
export type FaultPointName = (typeof FAULT_POINTS)[number];

/** Marks the place. Does nothing at all unless a test has armed it, see {@link armFaultPoints}. */
export function faultPoint(name: FaultPointName): void {
  visit?.(name);
}

export interface ArmOptions {
  /** Sends a signal to this process; it may not return. */
  signal?: (signal: 'SIGKILL' | 'SIGSTOP') => void;
}

/**
 * Arms fault points as `ONQUEUE_FAULT_POINTS` says, for tests: `claim.after=kill@3` sends this process SIGKILL at the
 * third visit (`@1` when left out), `=stop` SIGSTOP, `=throw` makes the place throw. `trace=<file>` writes a line for
 * each visit, `<pid> <name> <visit>`. Separated by commas; a name may come more than once.
 *
 * The state is one of the module, against our habit: it stands at a dozen places that know nothing of each other, and
 * handing it through all of them would cost more than it could ever tell.
 * @throws ConfigError when it is not understood, and always in production.
 */
export function armFaultPoints(env: Readonly<Record<string, string | undefined>>, options: ArmOptions = {}): void {
  visit = undefined;
  const text = env[VARIABLE];
  if (text === undefined || text === '') return;
  if (env.NODE_ENV === 'production') throw new ConfigError(`${VARIABLE}: is for tests; unset it in production`);
  const { signal = (name) => void process.kill(process.pid, name) } = options;
  const items = text.split(',').map(parseItem);
  const traces = items.flatMap((item) => ('trace' in item ? [item.trace] : []));
  const faults = items.flatMap((item) => ('name' in item ? [item] : []));
  const visits = new Map<FaultPointName, number>();
  visit = (name) => {
    const count = (visits.get(name) ?? 0) + 1;
    visits.set(name, count);
    // Written before anything happens, and at once: the process may not see the next line.
    for (const file of traces) appendFileSync(file, `${process.pid} ${name} ${count}\n`);
    const fault = faults.find((other) => other.name === name && other.visit === count);
    if (fault?.action === 'throw') throw new FaultPointError(`fault point ${name}, visit ${count}`);
    if (fault) signal(fault.action === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  };
}

/** What an armed `throw` throws. */
export class FaultPointError extends Error {
  override readonly name = 'FaultPointError';
}

const VARIABLE = 'ONQUEUE_FAULT_POINTS';

let visit: ((name: FaultPointName) => void) | undefined;

const traceItem = z.templateLiteral(['trace=', z.string().min(1)]).transform((text) => ({ trace: text.slice(6) }));
const faultItem = z
  .string()
  .regex(/^[a-z.]+=[a-z]+(@\d+)?$/)
  .transform((text) => {
    const [name, action, visitText = '1'] = text.split(/[=@]/);
    return { name, action, visit: Number(visitText) };
  })
  .pipe(
    z.object({
      name: z.enum(FAULT_POINTS),
      action: z.enum(['kill', 'stop', 'throw']),
      visit: z.number().int().positive(),
    }),
  );
const item = z.union([traceItem, faultItem]);

function parseItem(text: string): z.infer<typeof item> {
  const parsed = item.safeParse(text.trim());
  if (parsed.success) return parsed.data;
  throw new ConfigError(`${VARIABLE}: "${text}" is neither <point>=kill|stop|throw[@visit] nor trace=<file>`);
}

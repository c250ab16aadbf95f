import { z } from 'zod';
import type { FleetModel, FleetVersion, ModelOrder, VersionName } from '../ports.ts';
import { compareVersions } from '../version-assignment.ts';
import { modelWant, type Retirement, retirement, versionState } from '../version-state.ts';

/** `<name>/<version>`, as fields of the fleet's hashes are called. */
export function memberOf({ name, version }: VersionName): string {
  return `${name}/${version}`;
}

export function parseMember(member: string): VersionName {
  const slash = member.indexOf('/');
  return { name: member.slice(0, slash), version: member.slice(slash + 1) };
}

export function pairsOf(hash: readonly string[]): [field: string, value: string][] {
  return hash.flatMap((field, index): [string, string][] => (index % 2 === 1 ? [] : [[field, hash[index + 1] ?? '']]));
}

const order = z.object({ want: modelWant, at_ms: z.number() });

/** Those that this version understands. */
export function parseOrders(hash: readonly string[]): ModelOrder[] {
  return pairsOf(hash).flatMap(([subject, text]): ModelOrder[] => {
    const parsed = order.safeParse(parseJson(text));
    if (!parsed.success) return [];
    const { want, at_ms: atMs } = parsed.data;
    return [subject.includes('/') ? { ...parseMember(subject), want, atMs } : { name: subject, want, atMs }];
  });
}

/** Those that this version understands. */
export function parseRetired(hash: readonly string[]): (VersionName & { cause: Retirement['cause'] })[] {
  return pairsOf(hash).flatMap(([member, text]) => {
    const parsed = retirement.safeParse(parseJson(text));
    return parsed.success ? [{ ...parseMember(member), cause: parsed.data.cause }] : [];
  });
}

const reportRest = z.object({ state: versionState, reason: z.string().optional() });

/** What each worker says of a version, while it is true: `<until> <is offered> <since> <rest>`. */
function parseStates(hash: readonly string[], nowMs: number) {
  return pairsOf(hash).flatMap(([member, text]) => {
    const [, untilMs, sinceMs, rest] = /^(\d+) \d (-?\d+) (.*)$/s.exec(text) ?? [];
    const parsed = reportRest.safeParse(parseJson(rest ?? ''));
    if (!parsed.success || !(Number(untilMs) > nowMs)) return [];
    const { state, reason } = parsed.data;
    return [{ ...ofWorker(member), state, reason, sinceMs: Number(sinceMs) }];
  });
}

function ofWorker(member: string): VersionName & { worker: string } {
  const at = member.lastIndexOf('@');
  return { ...parseMember(member.slice(0, at)), worker: member.slice(at + 1) };
}

export interface FleetHashes {
  readDescriptor(text: string): FleetVersion['descriptor'];
  models: readonly string[];
  ready: readonly string[];
  states: readonly string[];
  orders: readonly string[];
  retired: readonly string[];
  nowMs: number;
}

/** One model, of all that the fleet's hashes hold. */
export function fleetModel(model: string, hashes: FleetHashes): FleetModel {
  const { nowMs, readDescriptor } = hashes;
  const orders = parseOrders(hashes.orders).filter(({ name }) => name === model);
  const ofModel = <T extends VersionName>(items: readonly T[]) => items.filter(({ name }) => name === model);
  const named = (hash: readonly string[]) => pairsOf(hash).map(([member, text]) => ({ ...parseMember(member), text }));
  const published = ofModel(named(hashes.models)).filter(({ text }) => readDescriptor(text));
  const retired = ofModel(named(hashes.retired));
  const reports = ofModel(parseStates(hashes.states, nowMs));
  const ready = ofModel(hashes.ready.map(ofWorker));
  const versions = new Set([...published, ...retired, ...reports, ...ready].map(({ version }) => version));
  return {
    order: orders.find(({ version }) => version === undefined),
    versions: [...versions]
      .toSorted((a, b) => compareVersions(b, a))
      .map((version) => {
        const ofVersion = <T extends VersionName>(items: readonly T[]) =>
          items.filter((item) => item.version === version);
        const reported = ofVersion(reports).map(({ worker, state, reason, sinceMs }) => ({
          worker,
          state,
          reason,
          sinceMs,
        }));
        // A worker of the previous version says no more than that it is ready.
        const others = ofVersion(ready).filter(({ worker }) => !reported.some((report) => report.worker === worker));
        const [descriptor] = ofVersion(published);
        const [gone] = ofVersion(retired);
        return {
          version,
          descriptor: descriptor && readDescriptor(descriptor.text),
          retirement: gone && retirement.safeParse(parseJson(gone.text)).data,
          order: orders.find((item) => item.version === version),
          workers: [
            ...reported,
            ...others.map(({ worker }) => ({ worker, state: 'ready' as const, reason: undefined, sinceMs: nowMs })),
          ],
        };
      }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

import { PLATFORM_ACTOR } from '../audit-line.ts';
import { type CircuitState, circuitState, fleetCircuit } from '../circuit-state.ts';
import { type ModelDescriptor, modelDescriptor } from '../model-descriptor.ts';
import type {
  FleetModel,
  FleetNews,
  ModelOrder,
  ModelRegistry,
  ModelSubject,
  PublishedModel,
  VersionBeat,
  VersionName,
  VersionReport,
} from '../ports.ts';
import type { ModelWant, Retirement } from '../version-state.ts';
import type { RedisConnection } from './connection.ts';
import { fleetModel, memberOf, pairsOf, parseMember, parseOrders, parseRetired } from './fleet-codec.ts';
import type { RedisKeys } from './keys.ts';
import { auditActor } from './redis-audit-log.ts';
import { BEAT_LUA, FLEET_LUA, LIST_LUA, ORDER_LUA, PUBLISH_LUA, RETIRE_LUA } from './scripts/model-registry.ts';
import { withStoreErrors } from './store-error.ts';

/** How long it is remembered that a version was retired, and why. */
const RETIRED_MS = 7 * 24 * 3_600_000;

export interface RedisModelRegistryOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  /** A descriptor that this version does not understand, most likely from a newer worker; it is left out. */
  onUnreadable?: (text: string) => void;
  /** Who gives orders says how many lines of the audit log are kept; workers give none. */
  maxAuditLines?: number;
}

/** Descriptors stay when their workers go; readiness is a lease that workers renew. */
export class RedisModelRegistry implements ModelRegistry {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #onUnreadable: (text: string) => void;
  readonly #maxAuditLines: number;

  constructor({ redis, keys, onUnreadable = () => {}, maxAuditLines = 100_000 }: RedisModelRegistryOptions) {
    this.#redis = redis;
    this.#keys = keys;
    this.#onUnreadable = onUnreadable;
    this.#maxAuditLines = maxAuditLines;
  }

  async publish(descriptor: ModelDescriptor): Promise<void> {
    const { models, retired } = this.#keys;
    const text = JSON.stringify(descriptor);
    await withStoreErrors(() => this.#redis.eval(PUBLISH_LUA, 2, models, retired, memberOf(descriptor), text));
  }

  async beat(
    worker: string,
    versions: readonly VersionBeat[],
    ttlMs: number,
    reports: readonly VersionReport[] = [],
  ): Promise<FleetNews> {
    const states = versions.flatMap(({ isReady, circuit, retryAfterMs, ...version }) => [
      memberOf(version),
      isReady ? '1' : '0',
      circuit,
      Math.ceil(retryAfterMs),
    ]);
    const lives = reports.flatMap(({ state, reason, ageMs, isOffered, ...version }) => [
      memberOf(version),
      isOffered ? '1' : '0',
      Math.round(ageMs),
      JSON.stringify({ state, reason }),
    ]);
    const { ready, circuits, versionStates, models, modelOrders, retired, fleetOutbox, fleetSubscriptions } =
      this.#keys;
    const keys = [ready, circuits, versionStates, models, modelOrders, retired, fleetOutbox, fleetSubscriptions];
    const [orders, unpublished, gone] = (await withStoreErrors(() =>
      this.#redis.eval(BEAT_LUA, keys.length, ...keys, ttlMs, worker, versions.length, ...states, ...lives),
    )) as [string[], string[], string[]];
    return {
      orders: parseOrders(orders),
      unpublished: unpublished.map(parseMember),
      retired: parseRetired(gone),
    };
  }

  async retire(worker: string, version: VersionName, { cause, reason }: Omit<Retirement, 'at_ms'>): Promise<boolean> {
    const { models, retired, versionStates, modelOrders, ready } = this.#keys;
    const keys = [models, retired, versionStates, modelOrders, ready];
    const member = memberOf(version);
    const done = await withStoreErrors(() =>
      this.#redis.eval(RETIRE_LUA, keys.length, ...keys, member, worker, cause, reason, RETIRED_MS),
    );
    return done === 1;
  }

  async order({ name, version }: ModelSubject, want: ModelWant, by = PLATFORM_ACTOR): Promise<ModelOrder> {
    const { modelOrders, fleetAudit, fleetAuditHead } = this.#keys;
    const line = { action: `model.${want}`, model: name, ...(version === undefined ? {} : { version }) };
    const atMs = await withStoreErrors(() =>
      this.#redis.eval(
        ORDER_LUA,
        3,
        ...[modelOrders, fleetAudit, fleetAuditHead],
        ...[name, version ?? '', want, JSON.stringify(line), auditActor(by), this.#maxAuditLines],
      ),
    );
    return { name, version, want, atMs: Number(atMs) };
  }

  async versions(model: string): Promise<FleetModel> {
    const { models, ready, versionStates, modelOrders, retired } = this.#keys;
    const keys = [models, ready, versionStates, modelOrders, retired];
    const reply = await withStoreErrors(() => this.#redis.eval(FLEET_LUA, keys.length, ...keys));
    const [published, members, states, orders, gone, nowMs] = reply as [
      string[],
      string[],
      string[],
      string[],
      string[],
      number,
    ];
    const readDescriptor = (text: string) => this.#readDescriptor(text);
    return fleetModel(model, {
      readDescriptor,
      models: published,
      ready: members,
      states,
      orders,
      retired: gone,
      nowMs,
    });
  }

  async list(): Promise<PublishedModel[]> {
    const { models, ready, circuits } = this.#keys;
    const [descriptors, members, states, nowMs] = (await withStoreErrors(() =>
      this.#redis.eval(LIST_LUA, 3, models, ready, circuits),
    )) as [string[], string[], string[], number];
    const readyWorkers = groupByVersion(members.map((member) => [member, member]));
    const circuitsOf = groupByVersion(parseCircuits(states, nowMs));
    return descriptors.flatMap((text) => {
      const descriptor = this.#readDescriptor(text);
      if (!descriptor) return [];
      const version = memberOf(descriptor);
      return [
        {
          descriptor,
          readyWorkers: readyWorkers.get(version)?.length ?? 0,
          circuit: fleetCircuit(circuitsOf.get(version) ?? []),
        },
      ];
    });
  }

  #readDescriptor(text: string): ModelDescriptor | undefined {
    const descriptor = modelDescriptor.safeParse(JSON.parse(text));
    if (!descriptor.success) this.#onUnreadable(text);
    return descriptor.data;
  }
}

/** By `<name>/<version>`, of what members `<name>/<version>@<worker>` have. */
function groupByVersion<T>(entries: readonly (readonly [member: string, value: T])[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const [member, value] of entries) {
    const version = member.slice(0, member.lastIndexOf('@'));
    const group = groups.get(version);
    if (group) group.push(value);
    else groups.set(version, [value]);
  }
  return groups;
}

/** Those that are still true, and that this version understands. */
function parseCircuits(hash: readonly string[], nowMs: number) {
  return pairsOf(hash).flatMap(([member, value]): [string, { state: CircuitState; retryAfterMs: number }][] => {
    const [text, retryAtMs, endsAtMs] = value.split(' ');
    const state = circuitState.safeParse(text);
    if (!state.success || !(Number(endsAtMs) > nowMs)) return [];
    return [[member, { state: state.data, retryAfterMs: Math.max(0, Number(retryAtMs) - nowMs) }]];
  });
}

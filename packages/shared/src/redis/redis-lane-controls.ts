import type { AuditActor } from '../audit-line.ts';
import { LANES, type Lane } from '../lane.ts';
import type { LaneControls, LaneState, PurgeOutcome } from '../lane-control.ts';
import { partitionOf } from '../partition.ts';
import type { RedisConnection } from './connection.ts';
import { queueName, type RedisKeys } from './keys.ts';
import { auditActor } from './redis-audit-log.ts';
import { PURGE_LUA } from './scripts/purge.ts';
import { SET_LANE_LUA } from './scripts/set-lane.ts';
import { withStoreErrors } from './store-error.ts';

export interface RedisLaneControlsOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  retentionMs: number;
  maxAuditLines: number;
}

/** Lanes are paused by BullMQ's flag, and drain by one in the backlog of their model. */
export class RedisLaneControls implements LaneControls {
  readonly #options: RedisLaneControlsOptions;

  constructor(options: RedisLaneControlsOptions) {
    this.#options = options;
    options.redis.defineCommand('onqueueSetLane', { lua: SET_LANE_LUA, numberOfKeys: 1 });
    options.redis.defineCommand('onqueuePurge', { lua: PURGE_LUA, numberOfKeys: 1 });
  }

  async states(model: string): Promise<Record<Lane, LaneState>> {
    const { redis, keys, partitions } = this.#options;
    const partition = partitionOf(model, partitions);
    const states = await withStoreErrors(() =>
      Promise.all(
        LANES.map(async (lane): Promise<[Lane, LaneState]> => {
          const [isPaused, isDraining] = await Promise.all([
            redis.hexists(`${keys.bullPrefix(partition)}:${queueName(model, lane)}:meta`, 'paused'),
            redis.hexists(keys.backlog(partition, model), `draining:${lane}`),
          ]);
          return [lane, isPaused === 1 ? 'paused' : isDraining === 1 ? 'draining' : 'open'];
        }),
      ),
    );
    return Object.fromEntries(states) as Record<Lane, LaneState>;
  }

  async set(model: string, lane: Lane, state: LaneState, by: AuditActor): Promise<void> {
    await this.#run('onqueueSetLane', model, [lane, state, this.#options.maxAuditLines, auditActor(by)]);
  }

  async purge(model: string, lane: Lane, limit: number, by: AuditActor): Promise<PurgeOutcome> {
    const reply = await this.#run('onqueuePurge', model, [lane, limit, this.#options.maxAuditLines, auditActor(by)]);
    const [purged, looks] = reply as [number, number];
    return { purged, hasMore: looks === limit };
  }

  #run(name: Command, model: string, args: (string | number)[]): Promise<unknown> {
    const { redis, keys, partitions, retentionMs } = this.#options;
    const commands = redis as unknown as Record<Command, (...args: (string | number)[]) => Promise<unknown>>;
    const partition = partitionOf(model, partitions);
    return withStoreErrors(() =>
      commands[name](keys.scratch(partition), keys.partition(partition), retentionMs, model, ...args),
    );
  }
}

type Command = 'onqueueSetLane' | 'onqueuePurge';

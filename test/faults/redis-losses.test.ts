import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { underLoad } from './support/load.ts';

const TIMEOUT_MS = sized({ small: 180_000, full: 600_000 });
/** What `appendfsync everysec` may lose. */
const LOSS_MS = 2000;

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    const args = ['--aof-load-truncated', 'yes'];
    stage = await startFaultPlatform({ source, redisOptions: { appendfsync: 'everysec', args } });
  });

  afterAll(() => stage?.close());

  /**
   * SIGKILL alone loses nothing here: what Redis has written before it answered stays in the operating system's pages,
   * whoever syncs them. A power cut would take the pages that were not synced; it is played by cutting the file anywhere in
   * what was written during the last moments. In the middle of a script Redis 7 leaves the script's first half in the
   * file, to run it at its next start (a backlog of -2 jobs was the trace): append-only-repair.ts is there for that, and
   * durability.md for those who run a Redis of their own. It is the promise of everysec that we take for granted, that
   * older pages are on the disk, and ours that is tested.
   */
  test(
    'a Redis that loses its last unsynced second loses young jobs alone, and the others end once',
    async () => {
      const scene = new FaultScene(stage, 'redis-losses');
      const { client, random } = scene;
      for (let cut = 1; cut <= sized({ small: 1, full: 10 }); cut++) {
        let old = new Set<string>();
        await underLoad(scene, sized({ small: 4, full: 16 }), async (load) => {
          await load.untilAcknowledged(random.between(20, 60));
          old = new Set(client.acknowledged.keys());
          await delay(LOSS_MS);
          const syncedBytes = sizeOf(aofOf(stage));
          await load.untilAcknowledged(random.between(20, 60));
          await stage.redis.kill();
          const writtenBytes = sizeOf(aofOf(stage));
          const keptBytes = random.between(syncedBytes, writtenBytes);
          truncateSync(aofOf(stage), keptBytes);
          const what = `SIGKILL redis, ${writtenBytes - keptBytes} of ${writtenBytes} bytes are lost`;
          scene.history.record({ kind: 'fault', what });
          await load.untilUnanswered();
        });
        const acknowledged = client.acknowledged.size;
        await stage.redis.restart();
        await scene.untilReady();
        const lost = await scene.rollBack();
        process.stdout.write(`lost: ${acknowledged - client.acknowledged.size} of ${acknowledged} acknowledged\n`);
        expect([...lost].filter((id) => old.has(id))).toEqual([]);
      }
      const { ended } = await scene.verdict();
      expect(ended).toEqual({ succeeded: client.acknowledged.size });
    },
    TIMEOUT_MS,
  );
});

/** The file that Redis appends to: since 7.0 the newest of a folder of them. */
function aofOf({ redis: { dataDir } }: FaultPlatform): string {
  const files = readdirSync(dataDir, { recursive: true, encoding: 'utf8' });
  const file = files.filter((name) => /appendonly\.aof(\.\d+\.incr\.aof)?$/.test(name)).findLast(isFileIn(dataDir));
  if (!file) throw new Error(`no append-only file in ${files}`);
  return join(dataDir, file);
}

function isFileIn(folder: string): (name: string) => boolean {
  return (name) => statSync(join(folder, name)).isFile();
}

function sizeOf(file: string): number {
  return statSync(file).size;
}

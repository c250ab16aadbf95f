import { describe, expect, test } from '@jest/globals';
import type { PublishedModel } from '@onqueue/shared';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { ModelCatalog } from './model-catalog.ts';

const model = (name: string, version = '1') => ({ descriptor: { name, version }, readyWorkers: 1 }) as PublishedModel;

/** A catalog over a registry that answers when it is told to, and counts how often it is asked. */
function setUp(published: PublishedModel[]) {
  const clock = new ManualClock();
  const answers: (() => void)[] = [];
  let reads = 0;
  const catalog = new ModelCatalog({
    clock,
    registry: {
      list: () => {
        reads++;
        const seen = [...published];
        return new Promise((resolve) => answers.push(() => resolve(seen)));
      },
      publish: async () => {},
      beat: async () => ({ orders: [], unpublished: [], retired: [] }),
      retire: async () => true,
      order: async (subject, want) => ({ ...subject, want, atMs: 0 }),
      versions: async () => ({ order: undefined, versions: [] }),
    },
  });
  return {
    clock,
    catalog,
    answer: async () => {
      answers.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    },
    reads: () => reads,
  };
}

describe('ModelCatalog', () => {
  test('believes what it has seen for a second', async () => {
    const { catalog, clock, answer, reads } = setUp([model('fraud')]);
    const first = catalog.list();
    await answer();
    await first;
    await clock.advance(999);
    expect(await catalog.versionsOf('fraud')).toHaveLength(1);
    expect(reads()).toBe(1);
    await clock.advance(1);
    void catalog.list();
    expect(reads()).toBe(2);
  });

  test('asks anew for a model, or a version, that it has not seen', async () => {
    const published = [model('fraud')];
    const { catalog, answer, reads } = setUp(published);
    const seen = catalog.list();
    await answer();
    await seen;
    published.push(model('digits'), model('fraud', '2'));
    const digits = catalog.versionsOf('digits');
    await new Promise((resolve) => setImmediate(resolve));
    await answer();
    expect(await digits).toHaveLength(1);
    expect(await catalog.versionsOf('fraud', '2')).toHaveLength(2);
    expect(reads()).toBe(2);
  });

  test('a flood of unknown names has one read under way, and one that begins after it', async () => {
    const published = [model('fraud')];
    const { catalog, answer, reads } = setUp(published);
    const early = catalog.versionsOf('digits');
    // Published after the first read began: only a second one can see it.
    published.push(model('digits'));
    await answer();
    const flood = [early, ...Array.from({ length: 50 }, () => catalog.versionsOf('digits'))];
    await new Promise((resolve) => setImmediate(resolve));
    await answer();
    await answer();
    expect((await Promise.all(flood)).every((versions) => versions.length === 1)).toBe(true);
    expect(reads()).toBeLessThanOrEqual(3);
  });
});

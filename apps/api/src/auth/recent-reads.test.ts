import { expect, test } from '@jest/globals';
import { RecentReads } from './recent-reads.ts';

function scene({ ttlMs = 100, maxEntries = 2 } = {}) {
  let atMs = 0;
  const reads: { name: string; answer: (value: string | null) => void; fail: (error: Error) => void }[] = [];
  const recent = new RecentReads<string>({
    read: (name) => new Promise((answer, fail) => reads.push({ name, answer, fail })),
    ttlMs,
    maxEntries,
    clock: { now: () => atMs },
  });
  return { recent, reads, pass: (ms: number) => (atMs += ms) };
}

test('who asks at the same time waits for one read, and who asks within its time for none', async () => {
  const { recent, reads, pass } = scene();
  const both = [recent.get('a'), recent.get('a')];
  reads[0]?.answer('1');
  expect(await Promise.all(both)).toEqual(['1', '1']);
  pass(99);
  expect([await recent.get('a'), reads.length]).toEqual(['1', 1]);
  pass(1);
  void recent.get('a');
  expect(reads.length).toBe(2);
});

test('what is not there, and what went wrong, is asked for again', async () => {
  const { recent, reads } = scene();
  const missing = recent.get('a');
  reads[0]?.answer(null);
  expect(await missing).toBeNull();
  const failing = recent.get('a');
  reads[1]?.fail(new Error('away'));
  await expect(failing).rejects.toThrow('away');
  void recent.get('a');
  expect(reads.length).toBe(3);
});

test('a read that began before something was changed here is not believed by who comes after', async () => {
  const { recent, reads } = scene();
  const before = recent.get('a');
  recent.forget('a');
  const after = recent.get('a');
  reads[1]?.answer('new');
  reads[0]?.answer('old');
  expect([await before, await after, await recent.get('a'), reads.length]).toEqual(['old', 'new', 'new', 2]);
});

test('of too many the oldest is read again', async () => {
  const { recent, reads } = scene();
  for (const name of ['a', 'b', 'c']) {
    const asked = recent.get(name);
    reads.at(-1)?.answer(name);
    await asked;
  }
  await recent.get('c');
  void recent.get('a');
  expect(reads.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'a']);
});

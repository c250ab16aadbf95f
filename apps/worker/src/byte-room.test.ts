import { expect, test } from '@jest/globals';
import { settle } from '../../../test/support/manual-clock.ts';
import { ByteRoom } from './byte-room.ts';

function setUp(maxBytes: number) {
  const room = new ByteRoom(maxBytes);
  const inside = new Map<string, () => void>();
  const enter = (name: string, bytes: number) =>
    room.within(bytes, () => new Promise<void>((resolve) => inside.set(name, resolve)));
  const leave = (name: string) => {
    inside.get(name)?.();
    inside.delete(name);
  };
  return { enter, leave, names: () => [...inside.keys()] };
}

test('lets in as many as there is room for, and the next ones in their order when some leave', async () => {
  const { enter, leave, names } = setUp(100);
  const all = [enter('a', 60), enter('b', 40), enter('c', 50), enter('d', 1)];
  await settle();
  expect(names()).toEqual(['a', 'b']);
  leave('b');
  await settle();
  expect(names()).toEqual(['a']);
  leave('a');
  await settle();
  expect(names()).toEqual(['c', 'd']);
  leave('c');
  leave('d');
  await Promise.all(all);
});

test('one that is larger than the room comes alone', async () => {
  const { enter, leave, names } = setUp(100);
  const all = [enter('a', 1), enter('huge', 500), enter('b', 1)];
  await settle();
  expect(names()).toEqual(['a']);
  leave('a');
  await settle();
  expect(names()).toEqual(['huge']);
  leave('huge');
  await settle();
  expect(names()).toEqual(['b']);
  leave('b');
  await Promise.all(all);
});

test('work that fails leaves its room', async () => {
  const room = new ByteRoom(1);
  await expect(room.within(1, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await room.within(1, () => Promise.resolve('in'))).toBe('in');
});

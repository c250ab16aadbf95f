import { describe, expect, test } from '@jest/globals';
import { Coalescer } from './coalescer.ts';

describe('Coalescer', () => {
  test('makes one call of what comes together, and gives everybody his own result', async () => {
    const calls: number[][] = [];
    const coalescer = new Coalescer<number, number>({
      maxSize: 10,
      perform: async (items) => {
        calls.push([...items]);
        return items.map((item) => item * 2);
      },
    });
    expect(await Promise.all([1, 2, 3].map((item) => coalescer.add(item)))).toEqual([2, 4, 6]);
    expect(await coalescer.add(4)).toBe(8);
    expect(calls).toEqual([[1, 2, 3], [4]]);
  });

  test('splits what is more than one call may hold', async () => {
    const sizes: number[] = [];
    const coalescer = new Coalescer<number, number>({
      maxSize: 2,
      perform: async (items) => {
        sizes.push(items.length);
        return [...items];
      },
    });
    await Promise.all([1, 2, 3, 4, 5].map((item) => coalescer.add(item)));
    expect(sizes).toEqual([2, 2, 1]);
  });

  test('fails everybody in a call that fails, and nobody else', async () => {
    let calls = 0;
    const coalescer = new Coalescer<number, number>({
      maxSize: 2,
      perform: async (items) => {
        if (calls++ === 0) throw new Error('lost');
        return [...items];
      },
    });
    const settled = await Promise.allSettled([1, 2, 3].map((item) => coalescer.add(item)));
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });
});

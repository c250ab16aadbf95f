import { describe, expect, test } from '@jest/globals';
import { newJobId, parseJobId } from './job-id.ts';

describe('job ids', () => {
  test('carry their creation time and partition', () => {
    const parts = { createdAtMs: 1_763_779_200_123, partition: 513 };
    expect(parseJobId(newJobId(parts))).toEqual(parts);
    expect(parseJobId(newJobId({ createdAtMs: 0, partition: 0xffff }))).toEqual({ createdAtMs: 0, partition: 0xffff });
  });

  test('are read as they were made before', () => {
    const parts = { createdAtMs: 1_796_065_899_956, partition: 0 };
    expect(parseJobId('job_038hdvttv800060hk483g3qernr92')).toEqual(parts);
    expect(newJobId(parts).slice(0, 16)).toBe('job_038hdvttv800');
  });

  test('differ, and sort by creation time', () => {
    const ids = Array.from({ length: 1000 }, (_, ms) =>
      newJobId({ createdAtMs: 1_763_779_200_000 + ms, partition: 0 }),
    );
    expect(new Set(ids).size).toBe(1000);
    expect(ids.toSorted()).toEqual(ids);
    expect(newJobId({ createdAtMs: 1, partition: 1 })).not.toBe(newJobId({ createdAtMs: 1, partition: 1 }));
  });

  test('are fit for a queue: no colon, no integer, no dash', () => {
    expect(newJobId({ createdAtMs: 5, partition: 0 })).toMatch(/^job_[0-9a-hjkmnp-tv-z]{29}$/);
  });

  test.each([
    '',
    'job_',
    'job_x',
    `job_${'u'.repeat(29)}`,
    `job_${'z'.repeat(29)}`,
    `JOB_${'0'.repeat(29)}`,
    `job_${'0'.repeat(30)}`,
  ])('reads nothing from %p', (text) => expect(parseJobId(text)).toBeNull());

  test('refuse a partition that does not fit', () => {
    expect(() => newJobId({ createdAtMs: 1, partition: 65_536 })).toThrow('This is a bug');
  });
});

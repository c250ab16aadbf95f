import { describe, expect, test } from '@jest/globals';
import { eventId } from './events.ts';

describe('eventId', () => {
  test('is the same for the same event and another for any other', () => {
    const id = eventId('job_a', 1, 'job.succeeded');
    expect(eventId('job_a', 1, 'job.succeeded')).toBe(id);
    const others = [
      eventId('job_b', 1, 'job.succeeded'),
      eventId('job_a', 2, 'job.succeeded'),
      eventId('job_a', 1, 'job.failed'),
      eventId('job_a', 1, 'job.succeeded', 1),
    ];
    expect(new Set([id, ...others]).size).toBe(5);
  });

  test('is fit for a queue and a header', () => {
    expect(eventId('job_a', 1, 'job.failed')).toMatch(/^evt_[0-9a-f]{32}$/);
  });
});

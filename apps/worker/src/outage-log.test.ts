import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { OutageLog } from './outage-log.ts';

test('tells each outage once, whichever parts it hits, and another error beside it', () => {
  const lines: unknown[][] = [];
  const outages = new OutageLog({
    logger: { warn: (...line: unknown[]) => lines.push(line) },
    clock: new ManualClock(),
  });
  const refused = new Error('connect ECONNREFUSED 127.0.0.1:1');
  outages.warn(refused, 'redis connection');
  outages.warn(new Error(refused.message), 'webhooks');
  outages.warn(refused, 'queue', { partition: 0 });
  const fault = new Error('the swap script: fault');
  outages.warn(fault, 'queue', { partition: 0 });
  outages.over();
  outages.warn(refused, 'webhooks');
  expect(lines).toEqual([
    [{ err: refused }, 'redis is away'],
    [{ partition: 0, err: fault }, 'queue'],
    [{ err: refused }, 'redis is away'],
  ]);
});

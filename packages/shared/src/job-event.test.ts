import { expect, test } from '@jest/globals';
import type { JobRecord, RunRecord } from './job.ts';
import { eventsAfter, isBeyond, isOver, parseEventCursor } from './job-event.ts';

const record = (changes: Partial<JobRecord>): JobRecord => ({
  schema_version: 2,
  id: 'job_1',
  tenant: 'default',
  state: 'queued',
  run: 1,
  attempt: 0,
  model: 'fraud',
  version: '1',
  lane: 'interactive',
  rows: 1,
  created_us: 1e6,
  queued_us: 1e6,
  request: { on_row_error: 'fail', request_id: 'req_1' },
  ...changes,
});
const running = record({ state: 'running', started_us: 2e6 });
const ended = record({ state: 'failed', started_us: 2e6, finished_us: 3e6 });
const at = (text: string) => parseEventCursor(text) ?? { run: 0, sequence: 0 };
const idsAfter = (cursor: string | undefined, job: JobRecord, runs: RunRecord[] = []) =>
  eventsAfter(cursor === undefined ? undefined : at(cursor), job, runs).map(({ id }) => id);

test('what is told is what the record knows, behind the cursor', () => {
  expect(idsAfter(undefined, record({}))).toEqual(['1-0']);
  expect(idsAfter('1-0', running)).toEqual(['1-1']);
  expect(idsAfter('1-1', ended)).toEqual(['1-2']);
  const earlier: RunRecord = {
    schema_version: 2,
    run: 1,
    state: 'expired',
    attempt: 0,
    queued_us: 1e6,
    finished_us: 2e6,
  };
  expect(idsAfter('1-0', record({ run: 2 }), [earlier])).toEqual(['1-2', '2-0']);
});

test('a start that was undone is not told twice', () => {
  expect(idsAfter('1-1', record({}))).toEqual([]);
  expect(isBeyond(at('1-1'), record({}))).toBe(false);
  expect(idsAfter('1-1', running)).toEqual([]);
});

test('a cursor that the record knows nothing of is beyond it', () => {
  expect(['2-0', '1-2', '1-3'].map((cursor) => isBeyond(at(cursor), running))).toEqual([true, true, true]);
  expect(['1-0', '1-2'].map((cursor) => isBeyond(at(cursor), ended))).toEqual([false, false]);
  expect([isOver(at('1-2'), ended), isOver(at('1-1'), ended), isOver(at('1-2'), running)]).toEqual([
    true,
    false,
    false,
  ]);
});

test('progress stands between start and end, the latest of it, and the end behind all that were told', () => {
  const progress = { run: 1, sequence: 3, at_ms: 2500, rows: { done: 4, total: 9 } };
  const working = { ...running, progress };
  expect(eventsAfter(at('1-1'), working, [])).toMatchObject([
    { id: '1-4', type: 'job.progress', status: 'running', progress: { rows: { done: 4, total: 9 } }, job: null },
  ]);
  expect(idsAfter('1-3', working)).toEqual(['1-4']);
  expect(idsAfter('1-4', working)).toEqual([]);
  const over = { ...ended, progress };
  expect(idsAfter('1-4', over)).toEqual(['1-5']);
  expect([isOver(at('1-4'), over), isOver(at('1-5'), over)]).toEqual([false, true]);
  expect([isBeyond(at('1-4'), working), isBeyond(at('1-5'), working), isBeyond(at('1-5'), over)]).toEqual([
    false,
    true,
    false,
  ]);
  // What Redis has lost of it is beyond.
  expect(isBeyond(at('1-4'), running)).toBe(true);
  // Of the run before: that run has it, this one does not.
  const again = record({ run: 2, progress });
  const { request: _, ...before } = { ...over, state: 'failed' as const, finished_us: 3e6 };
  expect(idsAfter('1-1', again, [before])).toEqual(['1-4', '1-5', '2-0']);
});

test.each(['', '1', '-', '1-', 'a-1', '1-1-1', ' 1-1', '1234567890-1'])('%j is no cursor', (text) => {
  expect(parseEventCursor(text)).toBeUndefined();
});

import { expect, test } from '@jest/globals';
import { LogBuffer } from './log-buffer.ts';

test('joins chunks into lines and tells each line once', () => {
  const told: string[] = [];
  const log = new LogBuffer({ onLine: (line) => told.push(line) });
  log.append('one\ntw');
  log.append('o\nthree');
  expect(told).toEqual(['one', 'two']);
  log.end();
  expect(log.lines()).toEqual(['one', 'two', 'three']);
});

test('keeps the newest lines only', () => {
  const log = new LogBuffer({ maxLines: 3 });
  for (let i = 0; i < 100; i++) log.append(`${i}\n`);
  expect(log.lines()).toEqual(['97', '98', '99']);
});

test('leaves blank lines out of the tail', () => {
  const log = new LogBuffer();
  log.append('a\n\nb\n \n');
  expect(log.tail(2)).toEqual(['a', 'b']);
});

test('cuts a line that never ends', () => {
  const log = new LogBuffer();
  log.append('x'.repeat(100_000));
  expect(log.lines().map(({ length }) => length)).toEqual([65_536]);
});

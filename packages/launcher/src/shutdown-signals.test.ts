import { EventEmitter } from 'node:events';
import { expect, test } from '@jest/globals';
import { onShutdownSignals } from './shutdown-signals.ts';

function listen() {
  const source = new EventEmitter();
  const heard: string[] = [];
  const clock = { now: 0 };
  const handlers = { onFirst: () => heard.push('first'), onSecond: () => heard.push('second') };
  const stopListening = onShutdownSignals(source, handlers, () => clock.now);
  return { source, heard, clock, stopListening };
}

test('takes the echoes of one Ctrl-C for one request', () => {
  const { source, heard, clock } = listen();
  source.emit('SIGINT');
  clock.now = 20;
  source.emit('SIGINT');
  source.emit('SIGTERM');
  expect(heard).toEqual(['first']);
});

test('tells a Ctrl-C that comes later as the second one', () => {
  const { source, heard, clock } = listen();
  source.emit('SIGTERM');
  clock.now = 2000;
  source.emit('SIGINT');
  expect(heard).toEqual(['first', 'second']);
});

test('leaves no listener behind', () => {
  const { source, stopListening } = listen();
  stopListening();
  expect(source.eventNames()).toEqual([]);
});

import { expect, test } from '@jest/globals';
import { parseTraceContext, traceContextOf, traceIdOf } from './trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const PARENT = `00-${TRACE}-${SPAN}-01`;

test('takes a context as it came', () => {
  expect(parseTraceContext(PARENT, 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7')).toEqual({
    traceparent: PARENT,
    tracestate: 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7',
  });
  expect(traceIdOf({ traceparent: PARENT })).toBe(TRACE);
});

test.each([
  ['none', undefined],
  ['an empty one', ''],
  ['capital letters', PARENT.toUpperCase()],
  ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['the version ff', `ff-${TRACE}-${SPAN}-01`],
  ['more fields than version 00 has', `${PARENT}-what`],
  ['a field too few', `00-${TRACE}-${SPAN}`],
  ['a short trace id', `00-${TRACE.slice(1)}-${SPAN}-01`],
  ['two headers that Node has joined', `${PARENT}, ${PARENT}`],
  ['a line break', `${PARENT}\n`],
])('passes over %s, and the tracestate with it', (_, header) => {
  expect(parseTraceContext(header, 'congo=t61rcWkgMzE')).toBeUndefined();
});

test('of a later version it takes what it knows, and says it as version 00', () => {
  expect(parseTraceContext(`cc-${TRACE}-${SPAN}-01-what-comes-later`, undefined)).toEqual({ traceparent: PARENT });
  expect(parseTraceContext(`cc-${TRACE}-${SPAN}-01.what`, undefined)).toBeUndefined();
});

test('flags that it does not know are set to zero', () => {
  expect(parseTraceContext(`00-${TRACE}-${SPAN}-ff`, undefined)?.traceparent).toBe(`00-${TRACE}-${SPAN}-03`);
});

test.each([
  ['no key', 'congo'],
  ['a key with a capital letter', 'Congo=1'],
  ['a value with an equals sign', 'congo=1=2'],
  ['an empty value', 'congo='],
  ['a value with a control character', 'congo=1\x01'],
  ['the same key twice', 'congo=1,congo=2'],
  ['33 members', Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(',')],
])('a tracestate with %s is dropped, the trace goes on', (_, state) => {
  expect(parseTraceContext(PARENT, state)).toEqual({ traceparent: PARENT });
});

test('a tracestate keeps whole members up to 512 characters, the newest first', () => {
  const member = (key: string) => `${key}=${'v'.repeat(200)}`;
  const state = [member('a'), 'tenant@system=x', member('c'), member('d')].join(' , ');
  expect(parseTraceContext(PARENT, state)?.tracestate).toBe([member('a'), 'tenant@system=x', member('c')].join(','));
});

test('what an older or newer version stored and is no context is no trace', () => {
  expect(traceContextOf({})).toBeUndefined();
  expect(traceContextOf({ traceparent: 'something else' })).toBeUndefined();
  expect(traceContextOf({ traceparent: PARENT, tracestate: 'a=1' })).toEqual({
    traceparent: PARENT,
    tracestate: 'a=1',
  });
});

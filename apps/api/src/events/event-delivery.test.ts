import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import type { Clock, JobEvent } from '@onqueue/shared';
import type { Response } from 'express';
import { deliverEvents, type EventSink } from './event-delivery.ts';
import { openSseSink } from './sse-sink.ts';

const event = { id: '1-0', type: 'job.queued' } as JobEvent;

/** A clock that the test turns: each call lets the next timer go off. */
function manualClock() {
  const timers: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    setTimeout: (callback) => {
      timers.push(callback);
      return { cancel: () => void timers.splice(timers.indexOf(callback) >>> 0, 1) };
    },
  };
  return { clock, tick: () => timers.shift()?.() };
}

/** A reader that takes what `unsent` says. */
function reader() {
  const calls: string[] = [];
  const closed = new AbortController();
  const state = { unsentBytes: 0 };
  const sink: EventSink = {
    get unsentBytes() {
      return state.unsentBytes;
    },
    send: () => void calls.push('send'),
    beat: () => void calls.push('beat'),
    end: () => {
      calls.push('end');
      if (state.unsentBytes === 0) closed.abort();
    },
    drop: () => {
      calls.push('drop');
      closed.abort();
    },
  };
  return { calls, closed, state, sink };
}

const limits = { heartbeatMs: 1000, maxBufferBytes: 100 };

describe('deliverEvents', () => {
  test('hands all events over, and closes', async () => {
    const { calls, closed, sink } = reader();
    const { clock } = manualClock();
    async function* events() {
      yield event;
      yield event;
    }
    expect(await deliverEvents({ events: events(), sink, closed: closed.signal, clock, ...limits })).toBe('told');
    expect(calls).toEqual(['send', 'send', 'end']);
  });

  test('cuts a reader off for whom too much waits when there is more', async () => {
    const { calls, closed, state, sink } = reader();
    const { clock } = manualClock();
    async function* events() {
      yield event;
      state.unsentBytes = 101;
      yield event;
    }
    expect(await deliverEvents({ events: events(), sink, closed: closed.signal, clock, ...limits })).toBe('slow');
    expect(calls).toEqual(['send', 'drop']);
  });

  test('cuts a reader off that takes nothing between two heartbeats, also of the last event', async () => {
    const { calls, closed, state, sink } = reader();
    const { clock, tick } = manualClock();
    async function* events() {
      yield event;
      state.unsentBytes = 5000;
    }
    const end = deliverEvents({ events: events(), sink, closed: closed.signal, clock, ...limits });
    await new Promise(setImmediate);
    tick();
    state.unsentBytes = 4000;
    tick();
    expect(calls).not.toContain('drop');
    tick();
    expect(await end).toBe('slow');
    expect(calls.filter((call) => call === 'beat')).toEqual([]);
  });

  test('ends with its reader', async () => {
    const { calls, closed, sink } = reader();
    const { clock, tick } = manualClock();
    async function* events() {
      yield event;
      tick();
      closed.abort();
      yield event;
    }
    expect(await deliverEvents({ events: events(), sink, closed: closed.signal, clock, ...limits })).toBe('closed');
    expect(calls.slice(0, 2)).toEqual(['send', 'beat']);
  });

  test('of a socket that nobody reads is over, and holds no more than its limit', async () => {
    const large = { ...event, job: { filler: 'x'.repeat(1_000_000) } } as unknown as JobEvent;
    let told = 0;
    const server = createServer();
    const outcome = new Promise((resolve) => {
      server.on('request', (_request, response) => {
        const closed = new AbortController();
        response.on('close', () => closed.abort());
        async function* events() {
          for (; told < 100; told++) {
            await new Promise(setImmediate);
            yield large;
          }
        }
        const sink = openSseSink(response as Response);
        resolve(
          deliverEvents({
            events: events(),
            sink,
            closed: closed.signal,
            heartbeatMs: 60_000,
            maxBufferBytes: 1_000_000,
          }),
        );
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await outcome).toBe('slow');
    expect(told).toBeLessThan(30);
    socket.destroy();
    server.close();
    await once(server, 'close');
  });
});

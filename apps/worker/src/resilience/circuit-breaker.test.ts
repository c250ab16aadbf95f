import { describe, expect, test } from '@jest/globals';
import type { RowErrorCode, RowResult } from '@onqueue/shared';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { HaltSignal } from '../batching/halt-signal.ts';
import { CircuitBreaker, type CircuitPolicy, type CircuitTransition } from './circuit-breaker.ts';

const POLICY: CircuitPolicy = {
  strikes: 3,
  errorPercent: 50,
  minRows: 10,
  windowMs: 10_000,
  openMs: 1000,
  maxOpenMs: 3000,
};

const ok: RowResult = { status: 'succeeded', output: {} };
const nan: RowResult = { status: 'failed', error: { code: 'non_finite_output', detail: '' } };
const refused: RowResult = { status: 'failed', error: { code: 'invalid_row', detail: '' } };

function setUp() {
  const clock = new ManualClock();
  const transitions: CircuitTransition[] = [];
  let isSound = true;
  let probes = 0;
  const circuit = new CircuitBreaker({
    policy: POLICY,
    clock,
    probe: async () => {
      probes += 1;
      if (!isSound) throw new Error('the golden row failed');
    },
    onTransition: (transition) => transitions.push(transition),
  });
  const enter = () => {
    const ticket = circuit.enter();
    if (ticket === undefined) throw new Error('refused');
    return ticket;
  };
  return {
    clock,
    circuit,
    states: () => transitions.map(({ to, cause }) => (cause ? `${to} ${cause}` : to)),
    probes: () => probes,
    breakModel: () => {
      isSound = false;
    },
    mendModel: () => {
      isSound = true;
    },
    answer: (...results: RowResult[]) => circuit.answered(enter(), results),
    fail: (code: RowErrorCode, rows = 1) => circuit.failed(enter(), { code, rows, detail: code }),
  };
}

describe('a closed circuit', () => {
  test.each([
    ['runner_crashed', 'open crash'],
    ['runner_timeout', 'open hang'],
    ['out_of_memory', 'open memory'],
  ] as const)('opens when rows alone end with %s, several in a row', (code, transition) => {
    const { circuit, fail, states } = setUp();
    fail(code);
    fail(code);
    expect(circuit.state).toBe('closed');
    fail(code);
    expect(states()).toEqual([transition]);
    expect(circuit.enter()).toBeUndefined();
  });

  test('stays closed when rows between them succeed: that is the rows own affair', () => {
    const { circuit, fail, answer } = setUp();
    for (let round = 0; round < 20; round++) {
      fail('runner_crashed');
      fail('runner_timeout');
      answer(ok, ok, ok, ok, ok);
    }
    expect(circuit.state).toBe('closed');
  });

  test('does not count batches of several rows that fail: their halves tell more', () => {
    const { circuit, fail } = setUp();
    for (let round = 0; round < 20; round++) fail('runner_crashed', 8);
    expect(circuit.state).toBe('closed');
  });

  test('does not count what is bad about rows, or what was canceled', () => {
    const { circuit, fail, answer } = setUp();
    for (let round = 0; round < 20; round++) {
      fail('inference_failed');
      fail('canceled');
      answer(refused, refused);
    }
    expect(circuit.state).toBe('closed');
  });

  test('opens when half of the rows of late have no answer, not before there are enough', () => {
    const { circuit, states, answer } = setUp();
    for (let row = 0; row < 4; row++) answer(ok, nan);
    expect(circuit.state).toBe('closed');
    answer(ok, nan);
    expect(states()).toEqual(['open errors']);
  });

  test('forgets the errors of long ago', async () => {
    const { circuit, clock, answer } = setUp();
    for (let row = 0; row < 9; row++) answer(nan);
    await clock.advance(10_000);
    answer(nan);
    expect(circuit.state).toBe('closed');
  });

  test('opens at once when no runner can be had, and when a golden row fails', () => {
    const first = setUp();
    first.fail('model_unavailable', 8);
    expect(first.states()).toEqual(['open unavailable']);
    const second = setUp();
    second.circuit.condemn('the golden row failed');
    second.circuit.condemn('and again');
    expect(second.states()).toEqual(['open unavailable']);
  });
});

describe('an open circuit', () => {
  test('tries a golden row after its time, then real batches, and closes when three came back', async () => {
    const { circuit, clock, states, probes, answer } = setUp();
    circuit.condemn('');
    expect(circuit.retryAfterMs).toBe(1000);
    await clock.advance(999);
    expect([circuit.state, circuit.retryAfterMs, probes()]).toEqual(['open', 1, 0]);
    await clock.advance(1);
    expect([circuit.state, circuit.retryAfterMs, probes()]).toEqual(['half_open', 0, 1]);
    for (let trial = 0; trial < 3; trial++) answer(ok);
    expect(states()).toEqual(['open unavailable', 'half_open', 'closed']);
  });

  test('stays open for twice as long each time that the golden row fails, up to a limit', async () => {
    const { circuit, clock, probes, breakModel, mendModel } = setUp();
    breakModel();
    circuit.condemn('');
    for (const openMs of [1000, 2000, 3000, 3000]) {
      const before = probes();
      expect(circuit.retryAfterMs).toBe(openMs);
      await clock.advance(openMs);
      expect([circuit.state, probes()]).toEqual(['open', before + 1]);
    }
    mendModel();
    await clock.advance(3000);
    expect(circuit.state).toBe('half_open');
  });

  test('takes no notice of batches that were begun before', () => {
    const { circuit, states } = setUp();
    const early = circuit.enter() ?? 0;
    circuit.condemn('');
    circuit.answered(early, [ok]);
    circuit.failed(early, { code: 'model_unavailable', rows: 1, detail: '' });
    expect(states()).toEqual(['open unavailable']);
  });
});

describe('a half-open circuit', () => {
  async function halfOpen() {
    const scene = setUp();
    scene.circuit.condemn('');
    await scene.clock.advance(1000);
    return scene;
  }

  test('lets in three batches and no more until they are back', async () => {
    const { circuit } = await halfOpen();
    const tickets = [circuit.enter(), circuit.enter(), circuit.enter()];
    expect(tickets).not.toContain(undefined);
    expect(circuit.enter()).toBeUndefined();
    // A batch of several rows that fails says nothing: its halves follow.
    circuit.failed(tickets[0] ?? 0, { code: 'runner_crashed', rows: 2, detail: '' });
    expect(circuit.enter()).toBeDefined();
    expect(circuit.state).toBe('half_open');
  });

  test.each(['runner_crashed', 'runner_timeout', 'model_unavailable'] as const)(
    'opens again, for longer, at the first %s',
    async (code) => {
      const { circuit, fail } = await halfOpen();
      fail(code);
      expect([circuit.state, circuit.retryAfterMs]).toEqual(['open', 2000]);
    },
  );

  test('opens again when a batch comes back without one answer', async () => {
    const { answer, states } = await halfOpen();
    answer(nan, nan);
    expect(states()).toEqual(['open unavailable', 'half_open', 'open errors']);
  });

  test('once closed, begins with short times anew', async () => {
    const { circuit, answer } = await halfOpen();
    for (let trial = 0; trial < 3; trial++) answer(ok);
    circuit.condemn('');
    expect(circuit.retryAfterMs).toBe(1000);
  });
});

describe('waiting for a circuit', () => {
  test('ends at once while it is not open', async () => {
    const { circuit } = setUp();
    expect(await circuit.whenAdmitting(new HaltSignal(), 1000)).toBe(true);
  });

  test('ends when the golden row was answered', async () => {
    const { circuit, clock } = setUp();
    circuit.condemn('');
    const waiting = circuit.whenAdmitting(new HaltSignal(), 60_000);
    await clock.advance(1000);
    expect(await waiting).toBe(true);
  });

  test('lets in a few while it is half open, one more for each that came back, and all when it is closed', async () => {
    const { circuit, clock, answer } = setUp();
    circuit.condemn('');
    let admitted = 0;
    for (let job = 0; job < 9; job++) {
      void circuit.whenAdmitting(new HaltSignal(), 60_000).then((isAdmitting) => {
        admitted += Number(isAdmitting);
      });
    }
    await clock.advance(1000);
    expect(admitted).toBe(3);
    // Whoever comes now waits in line.
    void circuit.whenAdmitting(new HaltSignal(), 60_000).then(() => {
      admitted += 1;
    });
    answer(ok);
    await settle();
    expect(admitted).toBe(4);
    answer(ok);
    answer(ok);
    await settle();
    expect(admitted).toBe(10);
  });

  test('ends without leave when it takes too long, when nobody wants it any more, and when all is stopped', async () => {
    const { circuit, clock, breakModel, probes } = setUp();
    breakModel();
    circuit.condemn('');
    const halt = new HaltSignal();
    const waits = [
      circuit.whenAdmitting(new HaltSignal(), 500),
      circuit.whenAdmitting(halt, 60_000),
      circuit.whenAdmitting(new HaltSignal(), 60_000),
    ];
    await clock.advance(500);
    expect(await waits[0]).toBe(false);
    halt.halt();
    expect(await waits[1]).toBe(false);
    circuit.stop();
    expect(await waits[2]).toBe(false);
    expect(await circuit.whenAdmitting(new HaltSignal(), 60_000)).toBe(false);
    await clock.advance(60_000);
    await settle();
    expect(probes()).toBe(0);
  });
});

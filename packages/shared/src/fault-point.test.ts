import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { ConfigError } from './config.ts';
import { armFaultPoints, FaultPointError, faultPoint } from './fault-point.ts';

const signals: string[] = [];
const arm = (text: string, env: Record<string, string> = {}) =>
  armFaultPoints({ ONQUEUE_FAULT_POINTS: text, ...env }, { signal: (signal) => signals.push(signal) });

afterEach(() => {
  armFaultPoints({});
  signals.length = 0;
});

describe('a fault point', () => {
  test('does nothing when it is not armed', () => {
    arm('claim.before=throw');
    armFaultPoints({});
    faultPoint('claim.before');
    armFaultPoints({ ONQUEUE_FAULT_POINTS: '', NODE_ENV: 'production' });
    faultPoint('claim.before');
    expect(signals).toEqual([]);
  });

  test('kills or stops at the visit that was asked for, once', () => {
    arm('claim.after=kill@3, commit.before=stop');
    for (let n = 0; n < 2; n++) faultPoint('claim.after');
    expect(signals).toEqual([]);
    for (let n = 0; n < 2; n++) faultPoint('claim.after');
    expect(signals).toEqual(['SIGKILL']);
    for (let n = 0; n < 2; n++) faultPoint('commit.before');
    expect(signals).toEqual(['SIGKILL', 'SIGSTOP']);
  });

  test('throws at every visit that is named', () => {
    arm('score.after=throw@1,score.after=throw@3');
    expect(() => faultPoint('score.after')).toThrow(FaultPointError);
    faultPoint('score.after');
    expect(() => faultPoint('score.after')).toThrow('score.after, visit 3');
  });

  test('leaves a trace of each visit, before the fault', () => {
    const folder = mkdtempSync(join(tmpdir(), 'onqueue-trace-'));
    try {
      const file = join(folder, 'visits');
      arm(`trace=${file},delivery.after=throw@2`);
      faultPoint('delivery.after');
      faultPoint('delivery.before');
      expect(() => faultPoint('delivery.after')).toThrow();
      const { pid } = process;
      expect(readFileSync(file, 'utf8')).toBe(
        `${pid} delivery.after 1\n${pid} delivery.before 1\n${pid} delivery.after 2\n`,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('armFaultPoints', () => {
  test('refuses to work in production', () => {
    expect(() => arm('claim.after=kill', { NODE_ENV: 'production' })).toThrow(ConfigError);
    faultPoint('claim.after');
    expect(signals).toEqual([]);
  });

  test.each(['claim', 'claim.after', 'claim.after=die', 'claim.later=kill', 'claim.after=kill@0', 'trace=', 'x,'])(
    'does not take %p',
    (text) => expect(() => arm(text)).toThrow(/ONQUEUE_FAULT_POINTS: ".*" is neither/),
  );
});

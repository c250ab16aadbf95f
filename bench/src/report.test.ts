import { expect, test } from '@jest/globals';
import type { Bench } from './bench.ts';
import { humanReport, jsonLine } from './report.ts';

const bench: Bench = {
  name: 'example',
  summary: 'an example',
  figures: { jobs_ratio: 'ours / theirs', jobs_per_s: 'finished jobs' },
  prepare: () => Promise.reject(new Error('not measured here')),
};
const result = {
  rounds: 5,
  voided: 2,
  noisy: 1,
  medians: { jobs_per_s: 4321.5, jobs_ratio: 2.5 },
  spreads: { jobs_per_s: [4000, 5000] as [number, number], jobs_ratio: [2, 3] as [number, number] },
};
const machine = { cpu: 'Some CPU', cores: 2, os: 'linux', node: 'v20.0.0', redis: '7.0.15' };

test('the JSON line has bench, figures, spread and rounds, and nothing else', () => {
  expect(jsonLine('example', result)).toBe(
    '{"bench":"example","figures":{"jobs_per_s":4321.5,"jobs_ratio":2.5},' +
      '"spread":{"jobs_per_s":[4000,5000],"jobs_ratio":[2,3]},"rounds":5}',
  );
});

test('the JSON line is one line', () => {
  expect(jsonLine('example', result)).not.toContain('\n');
});

test('the table shows medians and spreads in the order of the bench', () => {
  const lines = humanReport(bench, result, machine).split('\n');
  const [ratio, rate] = ['jobs_ratio', 'jobs_per_s'].map((name) => lines.findIndex((line) => line.startsWith(name)));
  expect(lines[ratio ?? 0]).toMatch(/^jobs_ratio +2\.5 +2 +3 +ours \/ theirs$/);
  expect(rate).toBe((ratio ?? 0) + 1);
});

test('the table says on which machine it was made, and how many rounds were voided', () => {
  const text = humanReport(bench, result, machine);
  expect(text).toContain('cpu: Some CPU; cores: 2; os: linux; node: v20.0.0; redis: 7.0.15');
  expect(text).toContain('5 rounds; 2 voided and repeated, 1 kept although their control was bad.');
});

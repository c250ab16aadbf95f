import { expect, test } from '@jest/globals';
import { percentile } from '../statistics.ts';
import { LatencyHistogram } from './latency-histogram.ts';

function histogramOf(latencies: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const ms of latencies) histogram.record(ms);
  return histogram;
}

test('percentiles are within 2 % of the exact ones, and never too low', () => {
  const latencies = Array.from({ length: 5000 }, (_, index) => 0.05 + (index % 977) ** 1.5 / 20);
  const histogram = histogramOf(latencies);
  for (const p of [1, 50, 90, 99, 99.9]) {
    const exact = percentile(latencies, p);
    expect(histogram.percentile(p)).toBeGreaterThanOrEqual(exact * 0.999_999);
    expect(histogram.percentile(p)).toBeLessThanOrEqual(exact * 1.0201);
  }
});

test('the last percentile is the greatest latency', () => {
  expect(histogramOf([1, 2, 33.3]).percentile(100)).toBe(33.3);
});

test('every latency is in one bucket', () => {
  const histogram = histogramOf([0, 0.001, 5, 5, 60_000]);
  expect(histogram.count).toBe(5);
  expect(histogram.buckets().reduce((sum, { count }) => sum + count, 0)).toBe(5);
});

test('without latencies there is 0', () => {
  expect(new LatencyHistogram().percentile(99)).toBe(0);
});

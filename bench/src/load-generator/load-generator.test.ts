import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type EchoServer, startEchoServer } from '../echo-server.ts';
import { generateLoad } from './load-generator.ts';
import { type LoadOrder, loadReport } from './load-protocol.ts';

let echo: EchoServer;
beforeEach(async () => {
  echo = await startEchoServer();
});
afterEach(() => echo.close());

function order(changes: Partial<LoadOrder> = {}): LoadOrder {
  return {
    baseUrl: echo.baseUrl,
    ratePerS: 500,
    count: 50,
    seed: 1,
    bodies: ['{"model":"fraud"}'],
    maxInFlight: 50,
    timeoutMs: 5000,
    ...changes,
  };
}

test('every job is sent and counted, and the report can be read by the parent', async () => {
  const report = loadReport.parse(await generateLoad(order()));
  expect(report).toMatchObject({ sent: 50, succeeded: 50, errors: 0 });
  expect(report.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(50);
  expect(report.latencyMs.p99).toBeGreaterThanOrEqual(report.latencyMs.p50);
});

test('a job beyond the limit of those under way is an error, not a wait', async () => {
  const report = await generateLoad(order({ ratePerS: 1e6, maxInFlight: 10 }));
  expect(report.errors).toBeGreaterThan(0);
  expect(report.sent + report.errors).toBe(50);
});

test('a server that is not there is told as errors', async () => {
  const nobody = await startEchoServer();
  await nobody.close();
  const report = await generateLoad(order({ baseUrl: nobody.baseUrl, count: 3 }));
  expect(report).toMatchObject({ sent: 3, succeeded: 0, errors: 3 });
  expect(report.firstError).toContain('ECONNREFUSED');
});

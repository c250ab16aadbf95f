import { LaunchError, onShutdownSignals } from '@onqueue/launcher';
import { apiBench } from './api/api-bench.ts';
import { backfillBench } from './backfill/backfill-bench.ts';
import { type Bench, type BenchContext, MeasurementError } from './bench.ts';
import { cacheBench } from './cache/cache-bench.ts';
import { Cleanup } from './cleanup.ts';
import { coldstartBench } from './coldstart/coldstart-bench.ts';
import { parseCommandLine, UsageError, usage } from './command-line.ts';
import { efficiencyBench } from './efficiency/efficiency-bench.ts';
import { gainBench } from './gain/gain-bench.ts';
import { isolationBench } from './isolation/isolation-bench.ts';
import { latencyBench } from './latency/latency-bench.ts';
import { loadBench } from './load/load-bench.ts';
import { describeMachine } from './machine.ts';
import { memoryBench } from './memory/memory-bench.ts';
import { overloadBench } from './overload/overload-bench.ts';
import { humanReport, jsonLine } from './report.ts';
import { measureRounds } from './rounds.ts';
import { fraudSloBench } from './slo/fraud-slo-bench.ts';
import { batchingBench } from './throughput/batching-bench.ts';
import { throughputBench } from './throughput/throughput-bench.ts';
import { webhooksBench } from './webhooks/webhooks-bench.ts';

const BENCHES: readonly Bench[] = [
  throughputBench,
  batchingBench,
  gainBench,
  fraudSloBench,
  backfillBench,
  efficiencyBench,
  latencyBench,
  loadBench,
  apiBench,
  memoryBench,
  isolationBench,
  coldstartBench,
  webhooksBench,
  cacheBench,
  overloadBench,
];

/** Runs one bench. The exit code tells whether it could measure, never whether the numbers are good. */
async function main(): Promise<void> {
  const { name, isJson, isHelp, rounds } = parseCommandLine(process.argv.slice(2));
  if (isHelp || name === undefined) {
    console.log(usage(BENCHES));
    return;
  }
  const bench = BENCHES.find((candidate) => candidate.name === name);
  if (!bench) throw new UsageError(`There is no bench '${name}', only ${BENCHES.map((each) => each.name).join(', ')}.`);

  const cleanup = new Cleanup();
  const abort = new AbortController();
  const stopListening = onShutdownSignals(process, {
    onFirst: () => {
      console.error('stopping');
      abort.abort();
      void cleanup.run().finally(() => process.exit(INTERRUPTED));
    },
    // The launcher's guardian ends what is left.
    onSecond: () => process.exit(INTERRUPTED),
  });
  const startedAt = performance.now();
  const progress = (line: string) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    if (!abort.signal.aborted) console.error(`[${seconds.padStart(4)} s] ${line}`);
  };
  try {
    await runBench(bench, { cleanup, signal: abort.signal, progress }, { rounds, isJson });
  } catch (error) {
    // What fails while everything is being closed is no news; the signal's handler ends the process.
    if (abort.signal.aborted) return await new Promise<never>(() => undefined);
    throw error;
  } finally {
    if (!abort.signal.aborted) await cleanup.run();
    stopListening();
  }
}

/** 128 + SIGINT, as shells say it. */
const INTERRUPTED = 130;

interface RunOptions {
  rounds: number;
  isJson: boolean;
}

async function runBench(bench: Bench, context: BenchContext, { rounds, isJson }: RunOptions): Promise<void> {
  context.progress(`${bench.name}: ${bench.summary}`);
  const measure = await bench.prepare(context);
  const result = await measureRounds({ rounds, maxVoided: rounds, measure, progress: context.progress });
  const report = humanReport(bench, result, await describeMachine());
  if (isJson) console.error(report);
  console.log(isJson ? jsonLine(bench.name, result) : report);
}

main().catch((error: unknown) => {
  const isExpected = error instanceof UsageError || error instanceof MeasurementError || error instanceof LaunchError;
  console.error(isExpected ? error.message : error);
  process.exit(1);
});

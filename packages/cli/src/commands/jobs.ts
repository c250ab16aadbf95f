import { randomUUID } from 'node:crypto';
import { isAbsolute, join } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import type { CliContext } from '../cli-context.ts';
import { CliError, EXIT } from '../cli-error.ts';
import { deleteJobs, deletionsText } from '../jobs/delete-jobs.ts';
import { eventText, followEvents } from '../jobs/follow-events.ts';
import { inputRows } from '../jobs/input-rows.ts';
import { type JobBodyOptions, jobBody } from '../jobs/job-body.ts';
import { resultText, saveResult } from '../jobs/job-result.ts';
import { type JobFilter, retriedText, retryJobs } from '../jobs/retry-jobs.ts';
import { jobLine, jobText, type ShownJob, shownJob } from '../jobs/shown-job.ts';
import { assertSucceeded, readJob, waitForJob } from '../jobs/wait-for-job.ts';
import { durationS, keyValue, number, wholeNumber } from '../option-parsers.ts';

/** `onqueue jobs …`: what the API does with jobs, for a shell. */
export function jobsCommand(context: CliContext): Command {
  const { cwd, print, progress, readInput } = context;
  const at = (path: string) => (isAbsolute(path) ? path : join(cwd, path));
  const show = ({ json }: ApiOptions, job: ShownJob) => print(json ? JSON.stringify(job, null, 2) : jobText(job));
  /** The job as it ended; the exit code says how. */
  const showEnd = async (options: ApiOptions & WaitingOptions, id: string) => {
    const timeoutS = options.waitTimeout;
    const job = await waitForJob(id, { api: apiOf(options), timeoutS, progress: options.json ? undefined : progress });
    show(options, job);
    assertSucceeded(job);
  };
  const jobs = new Command('jobs').description('Post jobs, follow them, and say what becomes of them.');

  withApi(jobs.command('submit'), context)
    .description('Post a job: rows from --input, a file, or what is piped in.')
    .argument('<model>', 'the name of a model')
    .option('--input <json>', 'a row, or an array of rows')
    .option('--file <path>', 'rows, one JSON object a line, or a JSON array; - is what is piped in')
    .option('--version <version>', 'of the model; the newest one unless given')
    .option('--lane <lane>', 'interactive or bulk')
    .option('--service-class <class>', 'realtime, standard or batch')
    .option('--priority <number>', 'from -5 to 5', number)
    .option('--delay <duration>', 'before it may be started', durationS)
    .option('--run-at <time>', 'when it may be started, RFC 3339')
    .option('--timeout <duration>', 'that a run may take', durationS)
    .option('--expires-in <duration>', 'that a run may wait to be started', durationS)
    .option('--cancel-after <duration>', 'cancels the first run when it has not ended by then')
    .option('--retries <number>', 'after a failure that may pass', wholeNumber)
    .option('--retention <duration>', 'that it is kept after its end', durationS)
    .option('--on-row-error <what>', 'fail or continue')
    .option('--webhook <url>', 'to be told of the end')
    .option('--metadata <key=value>', 'yours, returned with the job; may be given again', keyValue)
    .option('--idempotency-key <key>', 'the same key and job make one job; a new one unless given')
    .option('--traceparent <context>', 'the trace that it is part of, W3C Trace Context')
    .option('--dry-run', 'check the job and post nothing')
    .option('--wait', 'until it has ended')
    .option(...WAIT_TIMEOUT)
    .action(async (model: string, options: SubmitOptions) => {
      const rows = await inputRows({ input: options.input, file: options.file, at, readInput });
      const api = apiOf(options);
      const body = jobBody({ ...options, model }, rows);
      const headers = { 'cancel-after': options.cancelAfter, traceparent: options.traceparent };
      if (options.dryRun) {
        const plan = await api.ask(jobPlan, 'POST', '/jobs', { query: { dry_run: '1' }, headers, body });
        print(options.json ? JSON.stringify(plan, null, 2) : planText(plan));
        return;
      }
      const key = options.idempotencyKey ?? randomUUID();
      const job = await api.ask(shownJob, 'POST', '/jobs', { headers: { ...headers, 'idempotency-key': key }, body });
      if (options.wait) await showEnd(options, job.id);
      else show(options, job);
    });

  withApi(jobs.command('get'), context)
    .description('Show a job as it is.')
    .argument('<id>')
    .action(async (id: string, options: ApiOptions) => show(options, await readJob(apiOf(options), id)));

  withApi(jobs.command('wait'), context)
    .description('Wait until a job has ended, and show it.')
    .argument('<id>')
    .option(...WAIT_TIMEOUT)
    .addHelpText('after', '\nExit code 3: it has not succeeded. 4: it has not ended in time.')
    .action((id: string, options: ApiOptions & WaitingOptions) => showEnd(options, id));

  withApi(jobs.command('result'), context)
    .description('Show the result of a job that has ended: JSON, or its rows one a line.')
    .argument('<id>')
    .option('--ndjson', 'the rows alone, one JSON object a line')
    .option('--output <file>', 'write it there, as it comes')
    .action(async (id: string, options: ResultOptions) => {
      const request = { id, ndjson: options.ndjson ?? false };
      if (options.output === undefined) {
        const text = await resultText(apiOf(options), request);
        if (text !== '') print(text);
        return;
      }
      const bytes = await saveResult(apiOf(options), request, at(options.output));
      const saved = { id, output: options.output, bytes };
      print(options.json ? JSON.stringify(saved, null, 2) : `${bytes} bytes in ${options.output}`);
    });

  withApi(jobs.command('delete'), context)
    .description('Remove the data of jobs that have ended, now.')
    .argument('<id...>')
    .action(async (ids: string[], options: ApiOptions) => {
      const shown = options.json ? undefined : progress;
      const { deletions, exitCode } = await deleteJobs(ids, { api: apiOf(options), progress: shown });
      print(options.json ? JSON.stringify(deletions, null, 2) : deletionsText(deletions));
      if (exitCode !== EXIT.done) throw new CliError('', { exitCode });
    });

  withApi(jobs.command('cancel'), context)
    .description('End a job, also one that runs.')
    .argument('<id>')
    .action(async (id: string, options: ApiOptions) => {
      show(options, await apiOf(options).ask(shownJob, 'POST', `/jobs/${encodeURIComponent(id)}/cancel`));
    });

  withFilter(withApi(jobs.command('retry'), context))
    .description('Run a job again that failed, expired or was canceled; or, without an id, all that the options name.')
    .argument('[id]')
    .option('--rows <which>', 'all, or unfinished: rows that have an answer keep it')
    .option('--wait', 'until it has ended')
    .option(...WAIT_TIMEOUT)
    .action(async (id: string | undefined, options: RetryOptions) => {
      const { rows, wait, waitTimeout: timeoutS } = options;
      const isFiltered = FILTERS.some((name) => options[name] !== undefined);
      if ((id !== undefined) === isFiltered) throw usage('Name one job, or say which: --status, --model, …');
      if (id === undefined) {
        if (wait) throw usage('--wait is for one job.');
        const shown = options.json ? undefined : progress;
        const done = await retryJobs(options, { api: apiOf(options), rows, timeoutS, progress: shown });
        print(options.json ? JSON.stringify(done, null, 2) : retriedText(done));
        return;
      }
      const query = { rows };
      const job = await apiOf(options).ask(shownJob, 'POST', `/jobs/${encodeURIComponent(id)}/retry`, { query });
      if (wait) await showEnd(options, id);
      else show(options, job);
    });

  withFilter(withApi(jobs.command('list'), context))
    .description('List jobs, the newest first. With --json one a line.')
    .option('--limit <number>', 'at most so many', wholeNumber, 20)
    .option('--all', 'all there are')
    .action(async (options: ListOptions) => {
      for await (const job of listJobs(options)) print(options.json ? JSON.stringify(job) : jobLine(job));
    });

  withApi(jobs.command('events'), context)
    .description('Follow a job until it has ended: a line an event. With --json one JSON object a line.')
    .argument('<id>')
    .option('--after <event>', 'only what came after the event of this id')
    .action(async (id: string, options: ApiOptions & { after?: string }) => {
      for await (const event of followEvents(id, { api: apiOf(options), after: options.after })) {
        print(options.json ? JSON.stringify(event) : eventText(event));
      }
    });

  return jobs;
}

/** Which jobs a command is about. */
function withFilter(command: Command): Command {
  return command
    .option('--model <name>', 'of this model')
    .option('--status <status>', 'queued, running, succeeded, failed, canceled or expired')
    .option('--created-after <time>', 'at or after this time, ISO 8601')
    .option('--created-before <time>', 'before this time')
    .option('--metadata <key=value>', 'with this value of an indexed key; may be given again', keyValue);
}

const FILTERS = ['model', 'status', 'createdAfter', 'createdBefore', 'metadata'] as const satisfies (keyof JobFilter)[];

const usage = (message: string) => new CliError(message, { exitCode: EXIT.usage });

const WAIT_TIMEOUT = [
  '--wait-timeout <duration>',
  'for waiting; exit code 4 when it is over',
  durationS,
  3600,
] as const;

interface WaitingOptions {
  waitTimeout: number;
}

interface SubmitOptions extends ApiOptions, WaitingOptions, Omit<JobBodyOptions, 'model'> {
  input?: string;
  file?: string;
  cancelAfter?: string;
  idempotencyKey?: string;
  traceparent?: string;
  dryRun?: boolean;
  wait?: boolean;
}

interface ResultOptions extends ApiOptions {
  ndjson?: boolean;
  output?: string;
}

interface RetryOptions extends ApiOptions, WaitingOptions, JobFilter {
  rows?: string;
  wait?: boolean;
}

interface ListOptions extends ApiOptions, JobFilter {
  limit: number;
  all?: boolean;
}

const jobPlan = z.looseObject({
  model: z.string(),
  version: z.string(),
  lane: z.string(),
  rows: z.looseObject({ total: z.number() }),
  input_bytes: z.number(),
});

function planText({ model, version, lane, rows, input_bytes }: z.infer<typeof jobPlan>): string {
  return `It would be accepted: ${model}/${version}, ${lane}, ${rows.total} rows of ${input_bytes} bytes. Nothing was posted.`;
}

const jobPage = z.looseObject({ data: z.array(shownJob), next: z.string().nullable() });
const PAGE = 100;

async function* listJobs(options: ListOptions): AsyncGenerator<ShownJob> {
  const api = apiOf(options);
  const metadata = Object.entries(options.metadata ?? {}).map(([key, value]) => [`metadata[${key}]`, value]);
  let left = options.all ? Number.POSITIVE_INFINITY : options.limit;
  let after: string | undefined;
  while (left > 0) {
    const query = {
      model: options.model,
      status: options.status,
      created_after: options.createdAfter,
      created_before: options.createdBefore,
      ...Object.fromEntries(metadata),
      limit: Math.min(left, PAGE),
      starting_after: after,
    };
    const { data, next } = await api.ask(jobPage, 'GET', '/jobs', { query });
    yield* data;
    left -= data.length;
    if (next === null) return;
    after = next;
  }
}

import {
  batching,
  calibration,
  circuitState,
  decisionPolicy,
  deliveryStatus,
  eventGap,
  fallbacks,
  fleetVersionState,
  jobEvent,
  jobResult,
  jobState,
  jobSummary,
  jobView,
  lane,
  laneState,
  metadata,
  modelName,
  modelVersion,
  modelWant,
  postprocess,
  problemDocument,
  runView,
  serviceLevel,
  tensorSpec,
  versionState,
} from '@onqueue/shared';
import { z } from 'zod';
import { retriedJob } from '../routes/retry-jobs.ts';

/** The bodies that the API answers with, as schemas: the OpenAPI document shows them, and tests hold every reply to them. */

export const job = jobView
  .extend({
    webhook_status: deliveryStatus
      .nullable()
      .describe('How the delivery of its end to its `webhook` stands; null when there is none, or it is forgotten.'),
    position: z
      .number()
      .int()
      .optional()
      .describe('Of a queued job: how many jobs are ahead of it. Absent when unknown.'),
    estimated_start_at: z.iso
      .datetime()
      .optional()
      .describe('When it starts if its queue goes on as in the last seconds. Absent while nothing has been measured.'),
  })
  .meta({ id: 'Job', description: 'A job, its results and what made them.' });

export const jobList = z
  .object({
    object: z.literal('list'),
    data: z.array(jobSummary.meta({ id: 'JobSummary', description: 'A job without its results.' })),
    has_more: z.boolean(),
    next: z.string().nullable().describe('`starting_after` of the next page; null on the last one.'),
  })
  .meta({ id: 'JobList' });

export const result = jobResult.meta({ id: 'JobResult', description: 'How a job ended, and its rows.' });

export const resultLine = z
  .looseObject({ index: z.number().int(), status: z.enum(['succeeded', 'failed']) })
  .meta({ id: 'ResultLine', description: 'One line of NDJSON: an entry of `results` and which row it is of.' });

export const eventStream = z.string().meta({
  id: 'EventStream',
  description:
    'Server-Sent Events. `id` and `event` are those of the `data`, which is a JobEvent or an EventGap as JSON.',
});

export const event = jobEvent.meta({ id: 'JobEvent', description: 'One event of a job.' });
export const gap = eventGap.meta({ id: 'EventGap', description: 'Told in the place of events that are not there.' });

export const retriedJobs = z
  .object({
    object: z.literal('list'),
    data: z.array(retriedJob.meta({ id: 'RetriedJob' })),
    has_more: z.boolean(),
    next: z.string().nullable().describe('`starting_after` of the next call.'),
    stopped_by: z
      .string()
      .nullable()
      .describe('The code of the problem that the next job met; `Retry-After` comes with it.'),
  })
  .meta({ id: 'RetriedJobs' });

export const laneChange = z
  .object({ object: z.literal('lane'), model: modelName, lane, state: laneState })
  .meta({ id: 'Lane' });

export const queueList = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z.object({
        object: z.literal('queue'),
        model: modelName,
        backlog: z
          .object({ jobs: z.number().int(), rows: z.number().int(), bytes: z.number().int() })
          .describe('Accepted and not ended.'),
        lanes: z.array(
          z.object({
            lane,
            state: laneState,
            waiting_jobs: z.number().int().describe('That no worker has claimed; about.'),
            oldest_age_s: z.number().describe('Seconds that the oldest of them has waited; 0 when there is none.'),
          }),
        ),
      }),
    ),
  })
  .meta({ id: 'QueueList' });

export const purge = z
  .object({ object: z.literal('purge'), model: modelName, lane, purged: z.number().int(), has_more: z.boolean() })
  .meta({ id: 'Purge' });

export const deletedJob = z
  .object({ id: z.string(), object: z.literal('job'), deleted: z.literal(true), deleted_at: z.iso.datetime() })
  .meta({ id: 'DeletedJob' });

export const acceptedJob = z
  .object({
    id: z.string(),
    object: z.literal('job'),
    status: jobState,
    model: modelName,
    version: modelVersion,
    lane,
    created_at: z.iso.datetime(),
    rows: z.object({ total: z.number().int() }),
    metadata,
    request_id: z.string(),
    urls: jobView.shape.urls,
  })
  .meta({ id: 'AcceptedJob', description: 'A job that was stored and waits for a worker.' });

export const jobPlan = z
  .object({
    object: z.literal('job_plan'),
    model: modelName,
    version: modelVersion,
    lane,
    priority: z.number().int(),
    service: serviceLevel.nullable(),
    rows: z.object({ total: z.number().int() }),
    input_bytes: z.number().int().describe('Of the rows as they would be stored.'),
  })
  .meta({ id: 'JobPlan', description: 'What would be made of a job. Nothing was stored.' });

export const runList = z
  .object({ object: z.literal('list'), data: z.array(runView.meta({ id: 'Run', description: 'One run of a job.' })) })
  .meta({ id: 'RunList' });

const modelVersionSummary = z
  .object({
    version: modelVersion,
    ready: z.boolean(),
    ready_workers: z.number().int(),
    circuit: z
      .object({ state: circuitState, open_workers: z.number().int() })
      .describe('Open: the version fails too often, and its workers leave it alone for a while.'),
    artifact_sha256: z.string(),
    golden: z
      .enum(['replayed', 'none'])
      .describe('Whether golden rows prove that the version reads rows as training did.'),
  })
  .meta({ id: 'ModelVersion' });

const summary = {
  name: modelName,
  object: z.literal('model'),
  version: modelVersion.describe('The newest one, which serves jobs that name none.'),
  ready: z.boolean().describe('Whether a worker serves the newest version now. Jobs are accepted all the same.'),
  urls: z.object({ self: z.string() }),
};

export const modelList = z
  .object({
    object: z.literal('list'),
    data: z.array(z.object({ ...summary, versions: z.array(modelVersionSummary) }).meta({ id: 'ModelSummary' })),
  })
  .meta({ id: 'ModelList' });

export const model = z
  .object({
    ...summary,
    versions: z.array(
      modelVersionSummary.extend({ calibration: calibration.nullable() }).meta({ id: 'ServedVersion' }),
    ),
    lanes: z.record(lane, laneState).describe('What operators have each lane do.'),
    kind: z.string(),
    description: z.string(),
    signature: z.object({ inputs: z.array(tensorSpec), outputs: z.array(tensorSpec) }),
    row_schema: z.record(z.string(), z.unknown()).describe('JSON Schema (2020-12) of one entry of `inputs`.'),
    example: z.record(z.string(), z.unknown()),
    batching: z.object(batching.omit({ calibrate: true }).shape),
    fallbacks,
    postprocess,
    decision: decisionPolicy.nullable(),
    metrics: z.record(z.string(), z.unknown()).nullable(),
    artifact_sha256: z.string(),
    preprocess_sha256: z.string(),
    decision_policy_sha256: z.string(),
  })
  .meta({ id: 'Model' });

const workersOfVersion = z.object({
  ...Object.fromEntries(versionState.options.map((state) => [state, z.number().int()])),
  data: z.array(
    z.object({
      worker: z.string(),
      state: versionState,
      reason: z.string().nullable(),
      since: z.iso.datetime().nullable(),
    }),
  ),
});

const wanted = modelWant
  .nullable()
  .describe('What an operator ordered last; null: nothing, the version policy decides.');

export const modelVersionState = z
  .object({
    object: z.literal('model_version'),
    model: modelName,
    version: modelVersion,
    state: fleetVersionState.describe('Of the worker that is farthest.'),
    reason: z.string().nullable(),
    since: z.iso.datetime().nullable(),
    accepts_jobs: z.boolean(),
    ready: z.boolean().describe('Whether a worker has it in memory.'),
    wanted,
    workers: workersOfVersion.describe('How many workers have it in each state, and what each says.'),
    artifact_sha256: z.string().nullable(),
    urls: z.object({ self: z.string(), model: z.string() }),
  })
  .meta({ id: 'ModelVersionState', description: 'Where a version is in its life.' });

export const modelVersionList = z
  .object({ object: z.literal('list'), model: modelName, wanted, data: z.array(modelVersionState) })
  .meta({ id: 'ModelVersionList' });

export const liveness = z.object({ status: z.literal('ok') }).meta({ id: 'Liveness' });

export const readiness = z
  .object({
    status: z.enum(['ready', 'unready', 'draining']),
    redis: z.object({
      status: z.enum(['ok', 'unavailable', 'unsuitable']),
      durability: z.enum(['durable', 'default', 'volatile', 'unknown']).optional(),
      version: z.string().optional(),
      detail: z.string().optional(),
    }),
  })
  .meta({ id: 'Readiness' });

export const problem = problemDocument.meta({
  id: 'Problem',
  description: 'RFC 9457. `code` is what a program should compare; docs/problems.md lists the codes.',
});

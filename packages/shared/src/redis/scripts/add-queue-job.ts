import { createRequire } from 'node:module';

// BullMQ's own script, includes inlined, from the exactly pinned version: wrapped in a function, it puts a job into a
// queue inside a script of ours. It is not exported officially: hence the exact pin.
const { addStandardJob } = createRequire(import.meta.url)('bullmq/dist/cjs/scripts/addStandardJob-9.js') as {
  addStandardJob: { content: string };
};

/** Puts a job into the BullMQ queue whose keys begin with `prefix`. Needs the locals of RECORD_FUNCTIONS. */
export const ADD_QUEUE_JOB = `
local function addStandardJob(KEYS, ARGV)
${addStandardJob.content}
end

local function addQueueJob(prefix, jobId, data, options)
  -- Nobody reads BullMQ's event stream here; its default length would cost megabytes a queue.
  redis.call('HSETNX', prefix .. 'meta', 'opts.maxLenEvents', 100)
  addStandardJob(
    {prefix .. 'wait', prefix .. 'paused', prefix .. 'meta', prefix .. 'id', prefix .. 'completed', prefix .. 'delayed',
     prefix .. 'active', prefix .. 'events', prefix .. 'marker'},
    {cmsgpack.pack({prefix, jobId, 'job', NOW_MS}), data, cmsgpack.pack(cjson.decode(options))})
end
`;

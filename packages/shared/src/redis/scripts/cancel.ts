import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Cancels a run that has not ended: one compare-and-set, final at once, whoever holds the job. The worker that does is
 * told to drop it, and whatever it still commits is refused. Its place in the queue goes too, unless a worker holds it.
 *
 * KEYS 1 scratch. ARGV 1 prefix, 2 retention ms, 3 tenant, 4 id.
 * Returns '' for an unknown job, 'canceled', or the state that the run had already ended in.
 */
export const CANCEL_LUA = `
local P, RETENTION_MS = ARGV[1], ARGV[2]
${RECORD_FUNCTIONS}
local tenant, id = ARGV[3], ARGV[4]
local record = readRun(tenant, id)
if not record.state then return '' end
if not isActive(record.state) then return record.state end
assertRunKinds(record.model)
redis.call('DEL', KEYS[1])
endRun(tenant, id, record, {state = 'canceled', error = cjson.encode({code = 'canceled', detail = 'The job was canceled.'})})
if record.state == 'queued' then removeQueueJob(tenant, record, id, record.run) end
halted[1] = id .. '-' .. record.run
tell()
return 'canceled'
`;

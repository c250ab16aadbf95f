import { RECORD_FUNCTIONS } from './record-functions.ts';

/**
 * Cancels a run that has not ended: one compare-and-set, final at once, whoever holds the job. The worker that does is
 * told to drop it, and whatever it still commits is refused. BullMQ's job stays; its next claim finds the run over.
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
redis.call('DEL', KEYS[1])
endRun(tenant, id, record, {state = 'canceled', error = cjson.encode({code = 'canceled', detail = 'The job was canceled.'})})
halted[1] = id
tell()
return 'canceled'
`;

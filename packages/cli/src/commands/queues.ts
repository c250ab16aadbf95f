import { LANES } from '@onqueue/shared';
import { Command, Option } from 'commander';
import { z } from 'zod';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import type { CliContext } from '../cli-context.ts';
import { CliError, EXIT } from '../cli-error.ts';
import { tableText } from '../table-text.ts';

/** `onqueue queues …`: what operators see and do. */
export function queuesCommand(context: CliContext): Command {
  const { print, progress } = context;
  const queues = new Command('queues').description(
    'Show what waits for each model, and hold, empty and clear its lanes.',
  );

  withApi(queues.command('list', { isDefault: true }), context)
    .description('Show the queue of every model, lane by lane.')
    .action(async (options: ApiOptions) => {
      const { data } = await apiOf(options).ask(queueList, 'GET', '/admin/queues');
      print(options.json ? JSON.stringify(data, null, 2) : queuesText(data));
    });

  for (const [action, description] of Object.entries(ACTIONS)) {
    withApi(queues.command(action), context)
      .description(description)
      .argument('<model>')
      .addOption(laneOption())
      .action(async (model: string, options: LaneOptions) => {
        const changes = [];
        for (const lane of lanesOf(options)) {
          changes.push(await apiOf(options).ask(laneChange, 'POST', lanePath(model, lane, action)));
        }
        const lines = changes.map(({ lane, state }) => `${model} ${lane}: ${state}`);
        print(options.json ? JSON.stringify(changes, null, 2) : lines.join('\n'));
      });
  }

  withApi(queues.command('purge'), context)
    .description('Cancel the jobs of a model that no worker holds, of all tenants.')
    .argument('<model>')
    .addOption(laneOption())
    .option('--yes', 'yes, cancel them: there is no way back but to run each again')
    .action(async (model: string, options: LaneOptions & { yes?: boolean }) => {
      if (!options.yes) {
        throw new CliError(`This cancels every job that waits for ${model}. Say --yes if that is what you want.`, {
          exitCode: EXIT.usage,
        });
      }
      const purges = [];
      for (const lane of lanesOf(options)) {
        let purged = 0;
        let hasMore = true;
        while (hasMore) {
          const part = await apiOf(options).ask(purge, 'POST', lanePath(model, lane, 'purge'));
          purged += part.purged;
          hasMore = part.has_more;
          if (!options.json) progress?.(`${model} ${lane}: ${purged} canceled`);
        }
        purges.push({ model, lane, purged });
      }
      const lines = purges.map(({ lane, purged }) => `${model} ${lane}: ${purged} jobs canceled`);
      print(options.json ? JSON.stringify(purges, null, 2) : lines.join('\n'));
    });

  return queues;
}

const ACTIONS = {
  pause: 'Take jobs and start none; what workers hold goes on.',
  resume: 'Back to normal, from paused or draining.',
  drain: 'Take no jobs, and work off those that are there.',
};

interface LaneOptions extends ApiOptions {
  lane?: string;
}

const laneOption = () => new Option('--lane <lane>', 'only this one; both unless given').choices(LANES);
const lanesOf = ({ lane }: LaneOptions): readonly string[] => (lane === undefined ? LANES : [lane]);
const lanePath = (model: string, lane: string, action: string) =>
  `/admin/models/${encodeURIComponent(model)}/lanes/${lane}/${action}`;

const laneChange = z.looseObject({ model: z.string(), lane: z.string(), state: z.string() });
const purge = z.looseObject({ purged: z.number(), has_more: z.boolean() });
const queueList = z.looseObject({
  data: z.array(
    z.looseObject({
      model: z.string(),
      backlog: z.looseObject({ jobs: z.number(), rows: z.number(), bytes: z.number() }),
      lanes: z.array(
        z.looseObject({
          lane: z.string(),
          state: z.string(),
          waiting_jobs: z.number(),
          oldest_age_s: z.number(),
        }),
      ),
    }),
  ),
});

function queuesText(queues: z.infer<typeof queueList>['data']): string {
  if (queues.length === 0) return 'No worker has published a model yet.';
  const rows = queues.flatMap(({ model, backlog, lanes }) =>
    lanes.map(({ lane, state, waiting_jobs, oldest_age_s }) => [
      model,
      lane,
      state,
      String(waiting_jobs),
      waiting_jobs === 0 ? '' : `${Math.round(oldest_age_s)} s`,
      `${backlog.jobs} jobs, ${backlog.rows} rows`,
    ]),
  );
  return tableText([['MODEL', 'LANE', 'STATE', 'WAITING', 'OLDEST', 'NOT ENDED (BOTH LANES)'], ...rows]);
}

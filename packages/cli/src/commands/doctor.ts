import { isAbsolute, join } from 'node:path';
import { type Config, loadConfig } from '@onqueue/shared';
import { filePolicyOf } from '@onqueue/worker/model-tools';
import { Command } from 'commander';
import { type ApiOptions, apiOf, withApi } from '../api/api-option.ts';
import type { CliContext } from '../cli-context.ts';
import { CliError } from '../cli-error.ts';
import { checkApi, checkPort, isWorker } from '../doctor/api-check.ts';
import { type Finding, findingsText } from '../doctor/finding.ts';
import { checkModels } from '../doctor/models-check.ts';
import { checkRedis } from '../doctor/redis-check.ts';
import { checkRedisBinary } from '../doctor/redis-server-check.ts';
import { checkNode, checkSettings } from '../doctor/settings-check.ts';
import { trialRunners } from '../models/trial-runner.ts';

/** `onqueue doctor`: what keeps the platform from working here, and what to do about it. */
export function doctorCommand(context: CliContext): Command {
  const { env, cwd, print, progress } = context;
  return withApi(new Command('doctor'), context)
    .description('Look at settings, Redis, ports, clocks, API and models, and say what to do about each.')
    .option('--redis-url <url>', 'of the Redis to look at', env.REDIS_URL)
    .option('--models-dir <folder>', 'the model repository', env.ONQUEUE_MODELS_DIR || 'models')
    .option('--no-load', 'read the manifests of models, and load none')
    .addHelpText(
      'after',
      '\nIt reads the settings of the environment and changes nothing. Exit code 1: there is an error.',
    )
    .action(async (options: DoctorOptions, command: Command) => {
      const say = (what: string) => (options.json ? undefined : progress?.(`looking at ${what}`));
      const { config = loadConfig({}), findings } = checkSettings(env);
      findings.unshift(checkNode(process.versions.node));
      say('Redis');
      findings.push(...(await redisFindings(options, config, env)));
      say('the API and ports');
      findings.push(
        ...(await apiFindings(
          options,
          config,
          command.getOptionValueSource('apiUrl') === 'cli' || Boolean(env.ONQUEUE_API_URL),
        )),
      );
      say('models');
      const at = (path: string) => (isAbsolute(path) ? path : join(cwd, path));
      const runners = options.load
        ? trialRunners({ env, filePolicy: filePolicyOf(config), timeoutMs: LOAD_MS, maxMemoryBytes: LOAD_BYTES })
        : undefined;
      findings.push(...(await checkModels({ modelsDir: options.modelsDir, at, runners })));
      const hasError = findings.some(({ status }) => status === 'error');
      print(options.json ? JSON.stringify({ ok: !hasError, findings }, null, 2) : findingsText(findings));
      if (hasError) throw new CliError('');
    });
}

interface DoctorOptions extends ApiOptions {
  redisUrl?: string;
  modelsDir: string;
  load: boolean;
}

const LOAD_MS = 60_000;
const LOAD_BYTES = 4 * 1024 ** 3;

async function redisFindings({ redisUrl }: DoctorOptions, config: Config, env: CliContext['env']): Promise<Finding[]> {
  if (!redisUrl) return [await checkRedisBinary(env.ONQUEUE_REDIS_SERVER || 'redis-server')];
  const { redisCluster: isCluster, keyPrefix, memoryLimitPercent } = config;
  return checkRedis({ url: redisUrl, isCluster, keyPrefix, memoryLimitPercent });
}

async function apiFindings(options: DoctorOptions, config: Config, isExpected: boolean): Promise<Finding[]> {
  const api = apiOf(options);
  const { isUp, findings } = await checkApi({ api, isExpected });
  const { host, port, workerHost, workerPort } = config;
  const isOurs = isUp && new URL(api.baseUrl).port === String(port);
  return [
    ...findings,
    await checkPort({ name: 'api port', variable: 'ONQUEUE_PORT', host, port, isOurs }),
    await checkPort({
      name: 'worker port',
      variable: 'ONQUEUE_WORKER_PORT',
      host: workerHost,
      port: workerPort,
      isOurs: await isWorker(workerHost, workerPort),
    }),
  ];
}

import { execFile } from 'node:child_process';
import { availableParallelism, cpus, release } from 'node:os';
import { promisify } from 'node:util';

/** What the numbers depend on, as it is printed with them. */
export interface MachineDescription {
  cpu: string;
  /** That this process may use. */
  cores: number;
  os: string;
  node: string;
  redis: string;
}

export async function describeMachine(): Promise<MachineDescription> {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    os: `${process.platform} ${release()}`,
    node: process.version,
    redis: await redisVersion(),
  };
}

/** Of the binary that the launcher starts. */
async function redisVersion(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(process.env.ONQUEUE_REDIS_SERVER || 'redis-server', ['--version']);
    return /v=(\S+)/.exec(stdout)?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { repairAppendOnlyFile } from './append-only-repair.ts';
import { type FolderLock, lockFolder } from './folder-lock.ts';
import { freePort, REDIS_DEFAULT_PORT } from './free-port.ts';
import { LaunchError } from './launch-error.ts';
import type { Exit, ManagedProcess } from './managed-process.ts';
import { PortTaken, REDIS_LOG_FILE, type RedisSettings, spawnRedis, untilRedisReady } from './redis-process.ts';

export interface RedisServerOptions extends RedisSettings {
  /** Kept after `stop()`, and locked against a second server. Default: a folder of our own, removed by `stop()`. */
  dataDir?: string;
  /** Default: any free one, never 6379. */
  port?: number;
}

/** A Redis of our own on 127.0.0.1. It does not outlive this process, however that ends. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Changes with `restart()`. */
  readonly pid: number;
  readonly dataDir: string;
  /** The end of the process that runs now. */
  readonly exited: Promise<Exit>;
  /** Ends the server in good order; calling it again changes nothing. */
  stop(): Promise<void>;
  /** Sends the signal (default SIGKILL) and waits for the end. Data and port stay for `restart()`. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** The same port and data again, whether the server runs or was killed. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing is answered. */
  pause(): void;
  resume(): void;
}

/** @throws LaunchError, one line with the last words of the server. */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  if (options.port === REDIS_DEFAULT_PORT) {
    throw new LaunchError(`Port ${REDIS_DEFAULT_PORT} is left to the machine's own Redis. Choose another one.`);
  }
  const dataDir = options.dataDir ? resolve(options.dataDir) : await mkdtemp(join(tmpdir(), 'onqueue-redis-'));
  await mkdir(dataDir, { recursive: true });
  const lock = options.dataDir ? await lockFolder(dataDir) : undefined;
  const server = new PrivateRedis(options, dataDir, lock);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

class PrivateRedis implements RedisServer {
  readonly dataDir: string;
  readonly #options: RedisServerOptions;
  readonly #lock: FolderLock | undefined;
  #port = 0;
  #process: ManagedProcess | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: RedisServerOptions, dataDir: string, lock: FolderLock | undefined) {
    this.#options = options;
    this.dataDir = dataDir;
    this.#lock = lock;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#running().pid;
  }

  get exited(): Promise<Exit> {
    return this.#running().exited;
  }

  /** A free port may be taken between finding and binding it; only then is another one worth a try. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      this.#port = this.#options.port ?? (await freePort());
      try {
        return await this.#launch();
      } catch (error) {
        const isWorthAnother = error instanceof PortTaken && this.#options.port === undefined;
        if (!isWorthAnother || attempt === MAX_PORT_ATTEMPTS) throw error;
      }
    }
  }

  async restart(): Promise<void> {
    await this.#process?.stop();
    await this.#launch();
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const running = this.#running();
    running.signal(signal);
    await running.exited;
  }

  pause(): void {
    this.#running().signal('SIGSTOP');
  }

  resume(): void {
    this.#running().signal('SIGCONT');
  }

  /** Once only: a second release could drop the lock of who came after us. */
  stop(): Promise<void> {
    this.#stopping ??= this.#shutDown();
    return this.#stopping;
  }

  async #shutDown(): Promise<void> {
    await this.#process?.stop();
    await this.#lock?.release();
    if (!this.#options.dataDir) await rm(this.dataDir, { recursive: true, force: true });
  }

  #running(): ManagedProcess {
    if (this.#process === undefined) throw new Error('The Redis server was never started. This is a bug.');
    return this.#process;
  }

  async #launch(): Promise<void> {
    this.#process = await spawnRedis(this.#options, this.#port, this.dataDir);
    await this.#lock?.add(this.#process.pid);
    try {
      await untilRedisReady(this.#process, this.#port, this.dataDir);
      await repairAppendOnlyFile({
        port: this.#port,
        pid: this.#process.pid,
        logFile: join(this.dataDir, REDIS_LOG_FILE),
      });
    } catch (error) {
      await this.#process.stop('SIGKILL');
      throw error;
    }
  }
}

const MAX_PORT_ATTEMPTS = 5;

import { link, mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LaunchError } from './launch-error.ts';

export interface FolderLock {
  /** Another process that uses the folder: while it lives the lock holds, even when we have died. */
  add(pid: number): Promise<void>;
  release(): Promise<void>;
}

/**
 * Makes a folder ours: two Redis servers appending to one file would destroy it. The lock is a file that names its
 * holders by process id and start time; a lock whose holders are all gone (a crash, a reboot) is taken over.
 * @throws LaunchError when a holder lives.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'onqueue.lock');
  const holders = [await holderOf(process.pid)];
  while (!(await tryCreate(path, holders))) {
    const living = await livingHolder(path);
    if (living !== undefined) {
      throw new LaunchError(
        `${folder} is in use by process ${living} (another 'npm start'?). Stop that one first, or set REDIS_URL to use another Redis.`,
      );
    }
    await unlink(path).catch(ignoreMissing);
  }
  return {
    async add(pid) {
      holders.push(await holderOf(pid));
      await writeFile(`${path}.new`, JSON.stringify(holders));
      await rename(`${path}.new`, path);
    },
    release: () => unlink(path).catch(ignoreMissing),
  };
}

interface Holder {
  pid: number;
  /** Kernel ticks at which the process began; null where there is no /proc to tell. Guards against reused ids. */
  startedAt: string | null;
}

/** link(2) fails when the name exists, and the content is complete before the name is: nobody reads half a lock. */
async function tryCreate(path: string, holders: Holder[]): Promise<boolean> {
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, JSON.stringify(holders));
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(draft).catch(ignoreMissing);
  }
}

async function livingHolder(path: string): Promise<number | undefined> {
  for (const { pid, startedAt } of await readHolders(path)) {
    if (isAlive(pid) && (await holderOf(pid)).startedAt === startedAt) return pid;
  }
  return undefined;
}

async function readHolders(path: string): Promise<Holder[]> {
  try {
    const holders: unknown = JSON.parse(await readFile(path, 'utf8'));
    return Array.isArray(holders) ? holders.filter(({ pid }) => Number.isInteger(pid) && pid > 0) : [];
  } catch {
    return [];
  }
}

async function holderOf(pid: number): Promise<Holder> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name, second, may hold spaces and brackets; the start time is the 20th field after it.
  return { pid, startedAt: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Gets redis-server without rights: downloads the Debian packages that the system lacks, unpacks them into
 * .onqueue/redis and writes a starter that finds their libraries. Returns null, or why it did not work.
 *
 * @param {{root: string, run: typeof import('./run-command.mjs').runCommand}} ports
 * @returns {Promise<string | null>}
 */
export async function unpackRedis({ root, run }) {
  const folder = join(root, '.onqueue', 'redis');
  const [debs, tree] = [join(folder, 'debs'), join(folder, 'root')];
  await rm(folder, { recursive: true, force: true });
  await mkdir(debs, { recursive: true });
  await mkdir(tree, { recursive: true });
  const problem = (await download(folder, debs, run)) ?? (await unpack(debs, tree, run));
  if (problem !== null) return problem;
  const starter = join(folder, 'redis-server');
  await writeFile(starter, await starterScript(tree));
  await chmod(starter, 0o755);
  const { code, stderr } = await run(starter, ['--version']);
  return code === 0 ? null : `the unpacked redis-server does not run (${stderr.trim().split('\n').at(-1)})`;
}

/** With the system's package lists, else with lists of our own: reading them needs no rights, refreshing them does. */
async function download(folder, debs, run) {
  if (await downloadWith([], debs, run)) return null;
  const lists = join(folder, 'lists');
  await mkdir(join(lists, 'partial'), { recursive: true });
  await mkdir(join(folder, 'cache', 'archives', 'partial'), { recursive: true });
  const own = ['-o', `Dir::State::lists=${lists}`, '-o', `Dir::Cache=${join(folder, 'cache')}`];
  await run('apt-get', [...own, 'update']);
  const isDone = await downloadWith(own, debs, run);
  await rm(lists, { recursive: true, force: true });
  await rm(join(folder, 'cache'), { recursive: true, force: true });
  return isDone ? null : "'apt-get download redis-server' failed";
}

async function downloadWith(options, debs, run) {
  // A dry run names what an installation would bring: the server, its tools, and the libraries that are missing.
  const plan = await run('apt-get', [...options, '-s', 'install', '--no-install-recommends', 'redis-server']);
  const names = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name);
  if (plan.code !== 0 || names.length === 0) return false;
  return (await run('apt-get', [...options, 'download', ...names], { cwd: debs })).code === 0;
}

async function unpack(debs, tree, run) {
  for (const deb of await readdir(debs)) {
    const { code } = await run('dpkg', ['-x', join(debs, deb), tree]);
    if (code !== 0) return `'dpkg -x ${deb}' failed`;
  }
  return null;
}

/** exec, so that the process that is started is the server itself and signals reach it. */
async function starterScript(tree) {
  const places = await readdir(tree, { recursive: true });
  const libraries = places.filter((path) => /(^|\/)lib\/[^/]+-linux-[^/]+$/.test(path)).map((path) => join(tree, path));
  const quote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  return [
    '#!/bin/sh',
    `LD_LIBRARY_PATH=${quote(libraries.join(':'))}`,
    'export LD_LIBRARY_PATH',
    `exec ${quote(join(tree, 'usr', 'bin', 'redis-server'))} "$@"`,
    '',
  ].join('\n');
}

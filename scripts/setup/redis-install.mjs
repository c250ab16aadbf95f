import { unpackRedis } from './redis-unpack.mjs';

/**
 * Installs redis-server with the system's package manager, saying so first. Returns null when that worked, else why it
 * did not, as half a sentence.
 *
 * @param {{root: string, env: NodeJS.ProcessEnv, platform: string, run: typeof import('./run-command.mjs').runCommand,
 *   say: (line: string) => void, reason: string, uid?: number, unpack?: typeof unpackRedis}} ports
 * @returns {Promise<string | null>}
 */
export async function installRedis(ports) {
  const { platform, run } = ports;
  if (platform === 'linux' && (await exists(run, 'apt-get', ['--version']))) return installWithApt(ports);
  if (platform === 'darwin' && (await exists(run, 'brew', ['--version']))) return installWithBrew(ports);
  return 'it is not here, and there is neither apt-get nor Homebrew to install it';
}

async function installWithBrew({ run, say, reason }) {
  say(`Installing redis (brew install redis): ${reason}…`);
  const result = await run('brew', ['install', 'redis']);
  return result.code === 0 ? null : `'brew install redis' failed (${lastLine(result)})`;
}

/** As root, else through a sudo that asks for no password, else unpacked into .onqueue without any rights. */
async function installWithApt(ports) {
  const { run, say, reason, uid = process.getuid?.() ?? -1, unpack = unpackRedis } = ports;
  const asRoot = uid === 0 ? [] : (await exists(run, 'sudo', ['-n', 'true'])) ? ['sudo', '-n'] : null;
  let problem = 'this user may not install packages';
  if (asRoot !== null) {
    say(`Installing redis-server (${[...asRoot, 'apt-get install redis-server'].join(' ')}): ${reason}…`);
    problem = await aptInstall(asRoot, ports);
    if (problem === null) return null;
  }
  say(`Unpacking redis-server into .onqueue/redis (apt-get download): ${reason}, and ${problem}…`);
  const unpackProblem = await unpack(ports);
  return unpackProblem === null ? null : `${problem}, and ${unpackProblem}`;
}

async function aptInstall(asRoot, { env, run }) {
  const apt = (...args) => {
    const [command, ...rest] = [...asRoot, 'env', ...QUIET, 'apt-get', ...args];
    return run(command, rest, { env });
  };
  const install = () => apt('install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=60', 'redis-server');
  let result = await install();
  if (result.code !== 0) {
    // A fresh container has no package lists, an old one has lists that name files which are gone.
    await apt('update');
    result = await install();
  }
  if (result.code !== 0) return `'apt-get install redis-server' failed (${lastLine(result)})`;
  await disableService(asRoot, run);
  return null;
}

/** No questions; and in run level 1 invoke-rc.d starts no services. */
const QUIET = ['DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1'];

/** We want the program, not a server on port 6379 that comes back with every boot. Without systemd this does nothing. */
async function disableService(asRoot, run) {
  const [command, ...args] = [...asRoot, 'systemctl', 'disable', '--now', 'redis-server.service'];
  await run(command, args);
}

async function exists(run, command, args) {
  return (await run(command, args)).code === 0;
}

/** apt marks its errors with `E:`; the last line of all else is mostly the reason too. */
function lastLine({ code, stdout, stderr }) {
  const lines = `${stdout}\n${stderr}`
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.filter((line) => line.startsWith('E:')).at(-1) ?? lines.at(-1) ?? `exit code ${code}`;
}

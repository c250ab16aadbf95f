/**
 * What a runner may know of its supervisor's environment: it parses what strangers send, and needs no address and no
 * secret to do so.
 */
export function runnerEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  { intraOpNumThreads }: { intraOpNumThreads: number },
): Record<string, string> {
  const kept = PASSED_ON.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]));
  return {
    ...Object.fromEntries(kept),
    // Files and pictures are read by libuv's threads, which count against the same cores.
    UV_THREADPOOL_SIZE: String(intraOpNumThreads),
    VIPS_CONCURRENCY: '1',
  };
}

/** The second line is what finds a GPU, its driver and its caches. */
const PASSED_ON = [
  ...['PATH', 'TZ', 'LANG', 'LC_ALL', 'TMPDIR', 'LD_LIBRARY_PATH', 'SystemRoot'],
  ...['CUDA_VISIBLE_DEVICES', 'CUDA_CACHE_PATH', 'VK_ICD_FILENAMES', 'VK_DRIVER_FILES', 'XDG_RUNTIME_DIR'],
];

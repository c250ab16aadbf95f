/**
 * Why a process ended, when it has said so itself with its last words: the message of a fatal log line, or plain text, of
 * which further lines are indented. In one line; undefined for anything else, such as a stack.
 */
export function statedReason(lines: readonly string[]): string | undefined {
  const said = lines.filter((line) => line.trim() !== '');
  const fatal = logLine(said.at(-1) ?? '');
  if (fatal) return fatal.level >= FATAL ? fatal.msg : undefined;
  const plain = said.slice(said.findLastIndex((line) => logLine(line) !== undefined) + 1);
  if (plain.some((line) => STACK.test(line))) return undefined;
  const [what, ...details] = plain.slice(plain.findLastIndex((line) => !/^\s/.test(line))).map((line) => line.trim());
  return what === undefined ? undefined : [what, details.join('; ')].join(' ').trim();
}

/** Whether a line of a log is the last word of its process. */
export function isFatalLine(line: string): boolean {
  return (logLine(line)?.level ?? 0) >= FATAL;
}

/** pino's. */
const FATAL = 60;
const STACK = /^\s+at |^Node\.js v/;

function logLine(line: string): { level: number; msg: string } | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { level, msg } = JSON.parse(line);
    return typeof level === 'number' && typeof msg === 'string' ? { level, msg } : undefined;
  } catch {
    return undefined;
  }
}

/** What a command has of the world. */
export interface CliContext {
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Relative paths start here. */
  cwd: string;
  /** A line of the answer, to stdout. */
  print: (text: string) => void;
  /** A line for people beside the answer, to stderr. */
  printError: (text: string) => void;
  /** Shows what goes on, in place of what it showed before; undefined where nobody watches. */
  progress: ((text: string) => void) | undefined;
  /** What is piped in; undefined at a terminal. */
  readInput: (() => Promise<string>) | undefined;
  /** Resolves when the person wants the command to end; from the first call on, signals do nothing else. */
  interrupted: () => Promise<void>;
}

/** Something that the person who started us can put right; the message is one line that says how. Shown without a stack. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
}

/** What a log may say of an error. */
export interface LoggedError {
  type: string;
  message: string;
  stack?: string;
}

/** A cause of a cause of a cause…: enough to find out, and an end for those that go in a circle. */
const MAX_CAUSES = 5;

/**
 * The serializer for `err` in every logger. It picks what is safe instead of leaving out what is not: errors of ioredis
 * carry the command with its arguments, and with them inputs, results and URLs. Messages and stacks of causes are
 * appended; whatever was thrown, an error or not, has a message.
 */
export function logError(error: unknown): LoggedError {
  const chain = causesOf(error);
  const stacks = chain.flatMap(({ stack }) => (typeof stack === 'string' && stack !== '' ? [stack] : []));
  return {
    type: typeOf(error),
    message: chain.map(messageOf).join(': '),
    ...(stacks.length > 0 ? { stack: stacks.join('\ncaused by: ') } : {}),
  };
}

type ErrorLike = {
  name?: unknown;
  message?: unknown;
  stack?: unknown;
  code?: unknown;
  errors?: unknown;
  cause?: unknown;
};

function causesOf(error: unknown): ErrorLike[] {
  const chain: ErrorLike[] = [];
  for (let next = error; next !== undefined && chain.length < MAX_CAUSES; ) {
    const link: ErrorLike = typeof next === 'object' && next !== null ? next : { message: String(next) };
    chain.push(link);
    next = link.cause;
  }
  return chain.length > 0 ? chain : [{ message: 'undefined' }];
}

function typeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return typeof error;
  const { name } = error as ErrorLike;
  return typeof name === 'string' ? name : 'Object';
}

/** Node's error for a host with several addresses says nothing itself; those it stands for do. */
function messageOf({ message, code, errors }: ErrorLike): string {
  if (typeof message === 'string' && message !== '') return message;
  const parts = Array.isArray(errors) ? errors.map((error: ErrorLike) => messageOf(error ?? {})) : [];
  return parts.join(', ') || (typeof code === 'string' ? code : 'no message');
}

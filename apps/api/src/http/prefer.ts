/** What a client prefers, as far as it is understood here. */
export interface Preferences {
  /** Whole seconds that the client would wait for the final answer. */
  waitS: number | undefined;
}

/**
 * RFC 7240: preferences with commas between them, each `token`, `token=word` or `token="quoted"`, perhaps with parameters.
 * What is unknown or malformed is passed over, as the RFC wants it, and of two that are equal the first one counts.
 *
 * `respond-async` needs no place here: an answer at once is what clients get who prefer nothing, and beside `wait` it says
 * what is done anyway, which is to answer 202 when the time is over.
 */
export function parsePrefer(header: string | undefined): Preferences {
  for (const [, token = '', word, quoted] of (header ?? '').matchAll(PREFERENCE)) {
    if (token.toLowerCase() !== 'wait') continue;
    const value = word ?? quoted ?? '';
    return { waitS: /^\d+$/.test(value) ? Number(value) : undefined };
  }
  return { waitS: undefined };
}

/** One preference and its parameters up to the next comma; commas in quotes are no such thing. */
const PREFERENCE = /([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:([^\s",;]+)|"([^"]*)"))?(?:"[^"]*"|[^",])*,?/g;

export interface JsonLimits {
  maxDepth: number;
  maxNodes: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACKET = 0x5d;
const CLOSE_BRACE = 0x7d;

/**
 * Looks at raw JSON before anything parses it: how deep it nests and how many values it holds. One pass, no memory, so
 * that a body made to blow up a parser or a validator is refused for the price of reading it. It judges no syntax.
 *
 * @returns the limit that is passed, or null.
 */
export function scanJson(bytes: Uint8Array, { maxDepth, maxNodes }: JsonLimits): 'depth' | 'nodes' | null {
  let depth = 0;
  let nodes = 1;
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfString(bytes, at);
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > maxDepth) return 'depth';
        nodes++;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        depth--;
        break;
      case COMMA:
        nodes++;
        break;
    }
    if (nodes > maxNodes) return 'nodes';
  }
  return null;
}

/** The closing quote, or the end of a string that never closes. */
function endOfString(bytes: Uint8Array, opening: number): number {
  let quote = bytes.indexOf(QUOTE, opening + 1);
  while (quote !== -1 && isEscaped(bytes, quote)) quote = bytes.indexOf(QUOTE, quote + 1);
  return quote === -1 ? bytes.length : quote;
}

function isEscaped(bytes: Uint8Array, at: number): boolean {
  let backslashes = 0;
  while (bytes[at - 1 - backslashes] === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}

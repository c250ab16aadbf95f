export interface JsonLimits {
  maxDepth: number;
  maxNodes: number;
  /** Of all objects together. */
  maxKeys: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACKET = 0x5d;
const CLOSE_BRACE = 0x7d;

export interface JsonScan {
  /** The limit that is passed. */
  passed: 'depth' | 'nodes' | 'keys' | null;
  /** Keys of all objects, doubles included; as far as was read when a limit is passed. */
  members: number;
}

/**
 * Looks at raw JSON before anything parses it: how deep it nests and how much it holds. One pass, no memory, so that a
 * body made to blow up a parser or a validator is refused for the price of reading it. It judges no syntax.
 */
export function scanJson(bytes: Uint8Array, { maxDepth, maxNodes, maxKeys }: JsonLimits): JsonScan {
  let depth = 0;
  let nodes = 1;
  let members = 0;
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfString(bytes, at);
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > maxDepth) return { passed: 'depth', members };
        nodes++;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        depth--;
        break;
      case COMMA:
        nodes++;
        break;
      case COLON:
        if (++members > maxKeys) return { passed: 'keys', members };
        break;
    }
    if (nodes > maxNodes) return { passed: 'nodes', members };
  }
  return { passed: null, members };
}

/** The closing quote, or the end of a string that never closes. */
export function endOfString(bytes: Uint8Array, opening: number): number {
  let quote = bytes.indexOf(QUOTE, opening + 1);
  while (quote !== -1 && isEscaped(bytes, quote)) quote = bytes.indexOf(QUOTE, quote + 1);
  return quote === -1 ? bytes.length : quote;
}

function isEscaped(bytes: Uint8Array, at: number): boolean {
  let backslashes = 0;
  while (bytes[at - 1 - backslashes] === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}

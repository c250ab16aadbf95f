import { endOfString } from './json-scan.ts';

/**
 * How many members the objects of parsed JSON have. JSON.parse keeps the last of two equal keys and says nothing; when
 * fewer are left than `scanJson` saw, some key was there twice. Counting takes a tenth to a quarter of the parsing.
 */
export function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let members = 0;
  if (Array.isArray(value)) {
    // Most arrays hold thousands of numbers, which are not worth a call.
    for (const element of value) if (typeof element === 'object') members += countMembers(element);
    return members;
  }
  // Not Object.values: it makes an array of every object, and takes three times as long.
  for (const key in value) {
    members++;
    const member = (value as Record<string, unknown>)[key];
    if (typeof member === 'object') members += countMembers(member);
  }
  return members;
}

interface Frame {
  /** Undefined for an array. */
  keys: Set<string> | undefined;
  /** Where in the object or array we are. */
  at: string | number;
  isKeyNext: boolean;
}

/** The path of the first key that its object has already; `bytes` are valid JSON. Slow: for the error's words only. */
export function duplicateKey(bytes: Buffer): PropertyKey[] | undefined {
  const stack: Frame[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const top = stack.at(-1);
    switch (String.fromCharCode(bytes[at] ?? 0)) {
      case '"': {
        const end = endOfString(bytes, at);
        if (top?.keys && top.isKeyNext) {
          const name = JSON.parse(bytes.toString('utf8', at, end + 1)) as string;
          if (top.keys.has(name)) return [...stack.slice(0, -1).map((frame) => frame.at), name];
          top.keys.add(name);
          top.at = name;
          top.isKeyNext = false;
        }
        at = end;
        break;
      }
      case '{':
        stack.push({ keys: new Set(), at: '', isKeyNext: true });
        break;
      case '[':
        stack.push({ keys: undefined, at: 0, isKeyNext: false });
        break;
      case '}':
      case ']':
        stack.pop();
        break;
      case ',':
        if (top?.keys) top.isKeyNext = true;
        else if (top) top.at = Number(top.at) + 1;
        break;
    }
  }
  return undefined;
}

import { randomBytes } from 'node:crypto';

/** What a job id carries. Opaque to clients, read by us. */
export interface JobIdParts {
  /** Creation time, Unix milliseconds. */
  createdAtMs: number;
  /** The partition whose keys hold the job, 0…65535. */
  partition: number;
}

const PREFIX = 'job_';
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
/** 6 bytes time, 2 bytes partition, 10 random bytes. */
const BYTES = 18;
const LENGTH = Math.ceil((BYTES * 8) / 5);

/** A new id, `job_` + 29 characters of Crockford base32; ids sort by creation time. 80 random bits cannot be guessed. */
export function newJobId({ createdAtMs, partition }: JobIdParts): string {
  if (!Number.isInteger(partition) || partition < 0 || partition > 0xffff) {
    throw new RangeError(`partition ${partition} is not in 0…65535. This is a bug.`);
  }
  const bytes = Buffer.alloc(BYTES);
  bytes.writeUIntBE(createdAtMs, 0, 6);
  bytes.writeUInt16BE(partition, 6);
  randomBytes(10).copy(bytes, 8);
  return PREFIX + encode(bytes);
}

/** Reads an id; null when the text is no job id (answered like an unknown job, never as an error of its own). */
export function parseJobId(id: string): JobIdParts | null {
  if (!id.startsWith(PREFIX) || id.length !== PREFIX.length + LENGTH) return null;
  const bytes = decode(id.slice(PREFIX.length));
  if (bytes === null) return null;
  return { createdAtMs: bytes.readUIntBE(0, 6), partition: bytes.readUInt16BE(6) };
}

function encode(bytes: Buffer): string {
  let value = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (let i = 0; i < LENGTH; i++) {
    text = ALPHABET[Number(value & 31n)] + text;
    value >>= 5n;
  }
  return text;
}

function decode(text: string): Buffer | null {
  let value = 0n;
  for (const character of text) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) return null;
    value = (value << 5n) | BigInt(digit);
  }
  const hex = value.toString(16).padStart(BYTES * 2, '0');
  return hex.length === BYTES * 2 ? Buffer.from(hex, 'hex') : null;
}

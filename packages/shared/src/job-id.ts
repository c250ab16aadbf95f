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

/** No id made at that time or later sorts before it. */
export function firstJobIdAt(createdAtMs: number): string {
  const bytes = Buffer.alloc(BYTES);
  bytes.writeUIntBE(Math.min(Math.max(0, Math.floor(createdAtMs)), 2 ** 48 - 1), 0, 6);
  return PREFIX + encode(bytes);
}

/** Reads an id; null when the text is no job id (answered like an unknown job, never as an error of its own). */
export function parseJobId(id: string): JobIdParts | null {
  if (!id.startsWith(PREFIX) || id.length !== PREFIX.length + LENGTH) return null;
  const bytes = decode(id.slice(PREFIX.length));
  if (bytes === null) return null;
  return { createdAtMs: bytes.readUIntBE(0, 6), partition: bytes.readUInt16BE(6) };
}

/** The bits of 29 digits that 18 bytes do not fill: they lead, and are 0. */
const SPARE_BITS = LENGTH * 5 - BYTES * 8;

// By shifts, not by BigInt: an id is made for every job.
function encode(bytes: Buffer): string {
  let text = '';
  let pending = 0;
  let bits = SPARE_BITS;
  for (const byte of bytes) {
    pending = (pending << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[pending >>> bits];
      pending &= (1 << bits) - 1;
    }
  }
  return text;
}

function decode(text: string): Buffer | null {
  const bytes = Buffer.alloc(BYTES);
  let at = 0;
  let pending = 0;
  let bits = -SPARE_BITS;
  for (const character of text) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) return null;
    pending = (pending << 5) | digit;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    const byte = pending >>> bits;
    if (byte > 0xff) return null;
    bytes[at++] = byte;
    pending &= (1 << bits) - 1;
  }
  return bytes;
}

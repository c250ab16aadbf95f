import { readSync } from 'node:fs';
import { ModelFileError } from './model-file-error.ts';

/** A piece of the file, from the byte `start` to the one before `end`. */
export type ByteRange = { start: number; end: number };

/** A field as it lies in the file: `start` is its tag, `value` what comes after tag and length. */
export type ProtobufField = { number: number; wireType: number; start: number; value: ByteRange };

/** Wire types; groups (3 and 4) are obsolete, and no ONNX file has them. */
export const VARINT = 0;
const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const WINDOW_BYTES = 64 * 1024;

/**
 * Reads the protobuf wire format from an open file through a small window, and jumps over what nobody asks for: a
 * tensor of gigabytes costs one seek. Libraries hold a message in memory as a whole.
 *
 * It is stricter than they are, so that it never reads another model out of a file than the engine does: a tag that
 * does not fit 32 bits is refused where C++ cuts it.
 */
export class ProtobufReader {
  readonly #fd: number;
  readonly #window = Buffer.alloc(WINDOW_BYTES);
  #windowStart = 0;
  #windowEnd = 0;
  readonly size: number;

  constructor({ fd, size }: { fd: number; size: number }) {
    this.#fd = fd;
    this.size = size;
  }

  /** The fields of a message, in their order. @throws ModelFileError where the bytes are none. */
  *fields({ start, end }: ByteRange): Generator<ProtobufField> {
    let position = start;
    while (position < end) {
      const field = this.#fieldAt(position, end);
      yield field;
      position = field.value.end;
    }
  }

  /** The value of a `VARINT` field as a signed 64-bit number. */
  int({ value }: ProtobufField): bigint {
    return BigInt.asIntN(64, this.#varint(value.start, value.end).value);
  }

  /** Varints one after the other, as repeated numbers are packed into one field. */
  *packedInts({ start, end }: ByteRange): Generator<bigint> {
    for (let position = start; position < end; ) {
      const { value, end: next } = this.#varint(position, end);
      yield BigInt.asIntN(64, value);
      position = next;
    }
  }

  bytes({ start, end }: ByteRange): Buffer {
    const bytes = Buffer.alloc(end - start);
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(this.#fd, bytes, done, bytes.length - done, start + done);
      if (read === 0) throw new ModelFileError('The file became shorter while it was read.');
      done += read;
    }
    return bytes;
  }

  text(field: ProtobufField): string {
    const { start, end } = field.value;
    const isInWindow = start >= this.#windowStart && end <= this.#windowEnd;
    const bytes = isInWindow
      ? this.#window.subarray(start - this.#windowStart, end - this.#windowStart)
      : this.bytes(field.value);
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new ModelFileError(`The text at byte ${start} is not UTF-8.`, { cause });
    }
  }

  #fieldAt(start: number, end: number): ProtobufField {
    const tag = this.#varint(start, end);
    // 0xffffffff: what is beyond it C++ would cut off, and read another field than we do.
    if (tag.value > 0xffff_ffffn || tag.end - start > 5)
      throw new ModelFileError(`There is no field at byte ${start}.`);
    const number = Number(tag.value >> 3n);
    const wireType = Number(tag.value & 7n);
    if (number === 0) throw new ModelFileError(`There is no field at byte ${start}.`);
    const value = this.#valueAt(tag.end, end, wireType);
    if (value.end > end) throw new ModelFileError(`The field at byte ${start} runs past the end: the file is cut off.`);
    return { number, wireType, start, value };
  }

  #valueAt(start: number, end: number, wireType: number): ByteRange {
    switch (wireType) {
      case VARINT:
        return { start, end: this.#varint(start, end).end };
      case FIXED64:
        return { start, end: start + 8 };
      case FIXED32:
        return { start, end: start + 4 };
      case LENGTH_DELIMITED: {
        const length = this.#varint(start, end);
        // A bigint: a length beyond 2 ** 53 must not be rounded to one that fits.
        if (length.value > BigInt(end - length.end)) {
          throw new ModelFileError(`The field at byte ${start} runs past the end: the file is cut off.`);
        }
        return { start: length.end, end: length.end + Number(length.value) };
      }
      default:
        throw new ModelFileError(`The field at byte ${start} has the wire type ${wireType}, which no ONNX file has.`);
    }
  }

  #varint(start: number, end: number): { value: bigint; end: number } {
    // Seven bytes hold 49 bits, which a double adds up exactly; nearly every number of a model is that small.
    let low = 0;
    let position = start;
    for (let factor = 1; position < end && position < start + 7; factor *= 128) {
      const byte = this.#byteAt(position++);
      low += (byte & 127) * factor;
      if (byte < 128) return { value: BigInt(low), end: position };
    }
    let value = BigInt(low);
    for (let shift = 49n; position < end && position < start + 10; shift += 7n) {
      const byte = this.#byteAt(position++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return { value: BigInt.asUintN(64, value), end: position };
    }
    throw new ModelFileError(`The number at byte ${start} does not end.`);
  }

  #byteAt(position: number): number {
    if (position < this.#windowStart || position >= this.#windowEnd) this.#moveWindow(position);
    return this.#window[position - this.#windowStart] as number;
  }

  #moveWindow(position: number): void {
    const read = readSync(this.#fd, this.#window, 0, WINDOW_BYTES, position);
    if (read === 0) throw new ModelFileError('The file became shorter while it was read.');
    this.#windowStart = position;
    this.#windowEnd = position + read;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

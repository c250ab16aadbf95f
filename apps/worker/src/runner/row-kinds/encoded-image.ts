import { RowFailure } from '@onqueue/shared';

const POINTER = '/image';
const DATA_URL = /^data:[^,]*;base64$/i;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

export type ImageLimits = { formats: readonly string[]; max_bytes: number; max_pixels: number };

/**
 * The bytes of an image that a client sent as base64 or as a data URL, white space tolerated. Nothing is decoded that
 * is too long, and nothing comes back that is not in one of the accepted formats by its first bytes.
 */
export function encodedImageBytes(text: string, { formats, max_bytes: maxBytes }: ImageLimits): Buffer {
  const base64 = base64Part(text);
  if (Math.floor((base64.length * 3) / 4) - 2 > maxBytes) throw tooManyBytes(maxBytes);
  // Buffer.from skips what is not base64, so that nonsense would come out as other nonsense.
  if (!BASE64.test(base64) || base64.length % 4 === 1) throw imageFailure('invalid_image', 'The image is not base64.');
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length > maxBytes) throw tooManyBytes(maxBytes);
  const format = formatOf(bytes);
  if (format === undefined) {
    throw imageFailure('invalid_image', `The bytes are no image that is known; send ${accepted(formats)}.`);
  }
  if (!formats.includes(format)) {
    throw imageFailure('unsupported_image_format', `The image is ${format.toUpperCase()}; send ${accepted(formats)}.`);
  }
  if (format === 'png' && isAnimated(bytes)) {
    throw imageFailure('unsupported_image_format', 'The image is an animated PNG; send a single picture.');
  }
  return bytes;
}

/** A row's failure that points at its image. */
export function imageFailure(
  code: 'invalid_image' | 'image_too_large' | 'unsupported_image_format',
  detail: string,
  cause?: unknown,
): RowFailure {
  return new RowFailure(code, detail, { pointer: POINTER, cause });
}

function base64Part(text: string): string {
  const trimmed = text.trimStart();
  if (!/^data:/i.test(trimmed)) return withoutSpace(trimmed);
  const comma = trimmed.indexOf(',');
  if (!DATA_URL.test(trimmed.slice(0, Math.max(comma, 0)).trimEnd())) {
    throw imageFailure('invalid_image', 'The data URL of the image is not of the form data:image/png;base64,….');
  }
  return withoutSpace(trimmed.slice(comma + 1));
}

function withoutSpace(text: string): string {
  return /\s/.test(text) ? text.replace(/\s+/g, '') : text;
}

function tooManyBytes(maxBytes: number): RowFailure {
  return imageFailure('image_too_large', `The image has more than ${maxBytes} bytes.`);
}

function accepted(formats: readonly string[]): string {
  return formats.map((format) => format.toUpperCase()).join(' or ');
}

const PNG_SIGNATURE_BYTES = 8;
/** Length, type and checksum, around the data of a chunk. */
const PNG_CHUNK_BYTES = 12;

/** Whether a PNG announces frames (`acTL`), which comes before its first data. Which frame is meant nobody could tell. */
function isAnimated(png: Buffer): boolean {
  let at = PNG_SIGNATURE_BYTES;
  while (at + PNG_CHUNK_BYTES <= png.length) {
    const type = png.toString('latin1', at + 4, at + 8);
    if (type === 'acTL' || type === 'IDAT') return type === 'acTL';
    at += PNG_CHUNK_BYTES + png.readUInt32BE(at);
  }
  return false;
}

/**
 * By signature, since a data URL may claim anything. The formats beside PNG and JPEG are here only to be named in the
 * answer.
 */
function formatOf(bytes: Buffer): string | undefined {
  const head = bytes.subarray(0, 512).toString('latin1');
  const match = SIGNATURES.find(({ at, text }) => head.startsWith(text, at));
  return match?.format ?? (SVG.test(head) ? 'svg' : undefined);
}

const SIGNATURES: readonly { format: string; at: number; text: string }[] = [
  { format: 'png', at: 0, text: '\x89PNG\r\n\x1a\n' },
  { format: 'jpeg', at: 0, text: '\xff\xd8\xff' },
  { format: 'gif', at: 0, text: 'GIF8' },
  { format: 'webp', at: 8, text: 'WEBP' },
  { format: 'bmp', at: 0, text: 'BM' },
  { format: 'tiff', at: 0, text: 'II*\0' },
  { format: 'tiff', at: 0, text: 'MM\0*' },
  { format: 'avif', at: 4, text: 'ftypavif' },
  { format: 'heic', at: 4, text: 'ftyphei' },
  { format: 'pdf', at: 0, text: '%PDF-' },
];
const SVG = /^\s*<(\?xml|!--|!DOCTYPE svg|svg)/i;

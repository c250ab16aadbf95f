import { crc32, deflateSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import type { ModelManifest, RowFailure } from '@onqueue/shared';
import sharp from 'sharp';
import type { Tensor } from '../inference-engine.ts';
import { imageRows } from './image.ts';
import { decodeImage } from './image-decoder.ts';

const manifest = {
  kind: 'image',
  inputs: [{ name: 'image', dtype: 'float32', shape: [-1, 1, 2, 2] }],
  row: {
    pixels: { length: 4, minimum: 0, maximum: 16 },
    image: { formats: ['png', 'jpeg'], max_bytes: 20_000, max_pixels: 1_000_000 },
  },
  preprocess: {
    type: 'image',
    width: 2,
    height: 2,
    color: 'grayscale',
    polarity: 'keep',
    fit: 'contain',
    resample: 'area',
    pixel_scale: 16,
  },
} as unknown as Extract<ModelManifest, { kind: 'image' }>;
const polarityAuto = { ...manifest, preprocess: { ...manifest.preprocess, polarity: 'auto' as const } };

async function tensorOf(image: Buffer | string, of = manifest): Promise<number[]> {
  const text = typeof image === 'string' ? image : image.toString('base64');
  const { feeds, failures } = await imageRows(of, decodeImage).prepare([{ image: text }]);
  for (const failure of failures.values()) throw failure;
  return valuesOf(feeds.image);
}

function valuesOf(tensor: Tensor | undefined): number[] {
  if (tensor?.dtype !== 'float32') throw new Error(`The tensor is ${tensor?.dtype}.`);
  return Array.from(tensor.data, (value) => Math.round(value * 1e4) / 1e4);
}

async function failureOf(image: Buffer | string): Promise<Pick<RowFailure, 'code' | 'pointer' | 'message'>> {
  const row = { image: typeof image === 'string' ? image : image.toString('base64') };
  const { joined, failures } = await imageRows(manifest, decodeImage).prepare([row]);
  expect(joined).toEqual([]);
  const { code, pointer, message } = failures.get(0) as RowFailure;
  return { code, pointer, message };
}

/** Four corners: black, dark, light, white. */
const CORNERS = Buffer.from([0, 51, 204, 255]);
const EXPECTED = [0, 0.2, 0.8, 1];

const grey = (data = CORNERS) => sharp(data, { raw: { width: 2, height: 2, channels: 1 } });
const rgba = (data: number[]) => sharp(Buffer.from(data), { raw: { width: 2, height: 2, channels: 4 } });

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** `rows` already filtered: each begins with its filter byte. */
function png(
  header: { width: number; height: number; depth: number; color: number },
  rows: Buffer,
  extra: Buffer[] = [],
) {
  const ihdr = Buffer.alloc(13);
  ihdr.writeUInt32BE(header.width, 0);
  ihdr.writeUInt32BE(header.height, 4);
  ihdr[8] = header.depth;
  ihdr[9] = header.color;
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const data = chunk('IDAT', deflateSync(rows));
  return Buffer.concat([signature, chunk('IHDR', ihdr), ...extra, data, chunk('IEND', Buffer.alloc(0))]);
}

test('reads grey pictures of every depth, with and without alpha', async () => {
  expect(await tensorOf(await grey().toColourspace('b-w').png().toBuffer())).toEqual(EXPECTED);
  const wide = Buffer.from([0, 0, 0, 51, 51, 0, 204, 204, 255, 255]);
  expect(await tensorOf(png({ width: 2, height: 2, depth: 16, color: 0 }, wide))).toEqual(EXPECTED);
  const bits = Buffer.from([0, 0b0100_0000, 0, 0b1000_0000]);
  expect(await tensorOf(png({ width: 2, height: 2, depth: 1, color: 0 }, bits))).toEqual([0, 1, 1, 0]);
  const withAlpha = Buffer.from([0, 0, 255, 0, 0, 0, 0, 128, 255, 255]);
  expect(await tensorOf(png({ width: 2, height: 2, depth: 8, color: 4 }, withAlpha))).toEqual([0, 1, 0.498, 1]);
});

test('reads palettes, transparent entries included', async () => {
  const palette = chunk('PLTE', Buffer.from([0, 0, 0, 255, 255, 255, 255, 0, 0]));
  const transparency = chunk('tRNS', Buffer.from([0, 255, 255]));
  const indices = Buffer.from([0, 0, 1, 0, 2, 0]);
  const header = { width: 2, height: 2, depth: 8, color: 3 };
  expect(await tensorOf(png(header, indices, [palette]))).toEqual([0, 1, 0.299, 0]);
  expect(await tensorOf(png(header, indices, [palette, transparency]))).toEqual([1, 1, 0.299, 1]);
});

test('puts transparent pictures on white, and weighs colours by their brightness', async () => {
  const picture = rgba([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 0, 0, 0, 51]);
  expect(await tensorOf(await picture.png().toBuffer())).toEqual([0.299, 0.587, 0.114, 0.8]);
});

test('turns dark ink on paper into bright ink on black, and leaves the opposite as it is', async () => {
  const paper = Buffer.alloc(16, 255).fill(0, 5, 7);
  const pictureOf = (data: Buffer) =>
    sharp(data, { raw: { width: 4, height: 4, channels: 1 } })
      .png()
      .toBuffer();
  expect(await tensorOf(await pictureOf(paper), polarityAuto)).toEqual([0.25, 0.25, 0, 0]);
  expect(await tensorOf(await pictureOf(paper.map((byte) => 255 - byte) as Buffer), polarityAuto)).toEqual([
    0.25, 0.25, 0, 0,
  ]);
});

test('a single pixel is its own border, and fills the picture', async () => {
  const onePixel = await sharp(Buffer.from([255]), { raw: { width: 1, height: 1, channels: 1 } })
    .png()
    .toBuffer();
  expect(await tensorOf(onePixel, polarityAuto)).toEqual([0, 0, 0, 0]);
  expect(await tensorOf(onePixel)).toEqual([1, 1, 1, 1]);
});

test('turns photographs upright by their EXIF orientation', async () => {
  const corners = await sharp(CORNERS, { raw: { width: 2, height: 2, channels: 1 } })
    .resize(64, 64, { kernel: 'nearest' })
    .jpeg({ quality: 100 })
    .withMetadata({ orientation: 6 })
    .toBuffer();
  // Orientation 6: the first row is the right-hand side.
  expect((await tensorOf(corners)).map((value) => Math.round(value * 10) / 10)).toEqual([0.8, 0, 1, 0.2]);
});

test('reads CMYK photographs', async () => {
  const white = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#fff' } })
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer();
  for (const value of await tensorOf(white)) expect(value).toBeGreaterThan(0.95);
});

test('takes data URLs, and base64 with white space in it', async () => {
  const base64 = (await grey().png().toBuffer()).toString('base64');
  const broken = ` ${base64.replace(/(.{20})/g, '$1\r\n')} `;
  for (const text of [broken, `data:image/png;base64,${base64}`, `\n data:image/png;name=a;base64,${broken}`]) {
    expect(await tensorOf(text)).toEqual(EXPECTED);
  }
});

test('refuses what is not base64, or no image', async () => {
  const png = (await grey().png().toBuffer()).toString('base64');
  const texts = [
    'no, not base64!',
    `${png}-_`,
    '',
    `data:image/png,${png}`,
    'data:image/png;base64',
    'data:',
    'aGVsbG8=',
    'A',
  ];
  for (const text of texts) {
    expect([text, await failureOf(text)]).toEqual([
      text,
      expect.objectContaining({ code: 'invalid_image', pointer: '/image' }),
    ]);
  }
});

test('refuses other formats by name, whatever the data URL claims', async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>';
  const pictures: [string, Buffer][] = [
    ['GIF', Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64')],
    ['WEBP', Buffer.from('UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA/vv9UAA=', 'base64')],
    ['SVG', Buffer.from(svg)],
    ['TIFF', Buffer.from('II*\0\x08\0\0\0', 'latin1')],
  ];
  for (const [name, bytes] of pictures) {
    expect(await failureOf(`data:image/png;base64,${bytes.toString('base64')}`)).toEqual({
      code: 'unsupported_image_format',
      pointer: '/image',
      message: `The image is ${name}; send PNG or JPEG.`,
    });
  }
});

test('libvips is left with the loaders of PNG and JPEG', async () => {
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>');
  await expect(decodeImage(svg, manifest.row.image)).rejects.toMatchObject({ code: 'invalid_image' });
});

test('refuses damaged and truncated files', async () => {
  const whole = await sharp({
    create: {
      width: 64,
      height: 64,
      channels: 3,
      background: '#777',
      noise: { type: 'gaussian', mean: 128, sigma: 30 },
    },
  })
    .png()
    .toBuffer();
  const jpeg = await sharp(whole).jpeg().toBuffer();
  const damaged = Buffer.from(whole).fill(0, whole.length >> 1, (whole.length >> 1) + 64);
  const files = [
    whole.subarray(0, whole.length >> 1),
    whole.subarray(0, 20),
    whole.subarray(0, 8),
    jpeg.subarray(0, jpeg.length >> 1),
    jpeg.subarray(0, 3),
    damaged,
  ];
  for (const file of files) {
    expect(await failureOf(file)).toEqual({
      code: 'invalid_image',
      pointer: '/image',
      message: expect.stringMatching(
        /^The (image|header of the image) cannot be [a-z]+: it[a-z ]+ damaged or incomplete\.$/,
      ),
    });
  }
});

test('a header that claims too many pixels is believed, and nothing is decoded', async () => {
  const bomb = png({ width: 16_384, height: 16_384, depth: 8, color: 0 }, Buffer.alloc(100));
  expect(await failureOf(bomb)).toEqual({
    code: 'image_too_large',
    pointer: '/image',
    message: 'The image has 16384 x 16384 pixels, of at most 1000000.',
  });
});

test('more bytes than allowed are not even looked at', async () => {
  expect(await failureOf(Buffer.alloc(20_001))).toMatchObject({ code: 'image_too_large', pointer: '/image' });
  expect(await failureOf('A'.repeat(100_000))).toMatchObject({ code: 'image_too_large', pointer: '/image' });
});

test('plain pixels are divided by the scale of the model', async () => {
  const { feeds } = await imageRows(manifest, decodeImage).prepare([{ pixels: [0, 4, 8, 16] }]);
  expect(feeds.image).toEqual({ dtype: 'float32', data: Float32Array.of(0, 0.25, 0.5, 1), dims: [1, 1, 2, 2] });
});

test('a bad row stays out of the batch and its neighbours stay as they are', async () => {
  const image = (await grey().png().toBuffer()).toString('base64');
  const rows = [
    { image },
    { image: 'junk' },
    { pixels: [16, 16, 16, 16] },
    { pixels: [1] },
    {},
    null,
    { pixels: [0, 0, 'x', 0] },
  ];
  const { feeds, joined, failures } = await imageRows(manifest, decodeImage).prepare(rows);
  expect(joined).toEqual([0, 2]);
  expect(feeds.image?.dims).toEqual([2, 1, 2, 2]);
  expect(valuesOf(feeds.image)).toEqual([...EXPECTED, 1, 1, 1, 1]);
  const told = [...failures].map(([index, { code, pointer }]) => [index, code, pointer]);
  expect(told).toEqual([
    [1, 'invalid_image', '/image'],
    [3, 'invalid_row', '/pixels'],
    [4, 'invalid_row', undefined],
    [5, 'invalid_row', undefined],
    [6, 'invalid_row', '/pixels/2'],
  ]);
});

import sharp from 'sharp';
import { type ImageLimits, imageFailure } from './encoded-image.ts';
import type { PixelImage } from './luma.ts';

// A runner keeps to its core: no threads of libvips beside those of the engine, and no cache of pictures seen once.
sharp.concurrency(1);
sharp.cache(false);
// The signature was checked before; with the other loaders blocked there is nothing left to reach through a polyglot.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadPngBuffer', 'VipsForeignLoadJpegBuffer'] });

/**
 * Decodes to 8 bits a channel, upright by its EXIF orientation, colour profiles ignored (as in training). The header decides
 * whether anything is decoded at all; what is damaged or cut off is refused, never guessed.
 * What libvips says of it is kept as the cause: its words change with its version and name its own parts.
 */
export async function decodeImage(bytes: Uint8Array, limits: ImageLimits): Promise<PixelImage> {
  await checkHeader(bytes, limits);
  try {
    const { data, info } = await sharp(bytes, {
      failOn: 'truncated',
      ignoreIcc: true,
      limitInputPixels: limits.max_pixels,
      pages: 1,
    })
      .autoOrient()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: info.channels, data };
  } catch (error) {
    throw imageFailure('invalid_image', 'The image cannot be decoded: its data is damaged or incomplete.', error);
  }
}

async function checkHeader(bytes: Uint8Array, { max_pixels: maxPixels }: ImageLimits): Promise<void> {
  const { width, height } = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((error: unknown) => {
      throw imageFailure(
        'invalid_image',
        'The header of the image cannot be read: it is damaged or incomplete.',
        error,
      );
    });
  if (width * height > maxPixels) {
    throw imageFailure('image_too_large', `The image has ${width} x ${height} pixels, of at most ${maxPixels}.`);
  }
}

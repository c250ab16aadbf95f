import { z } from 'zod';

/** A row is `{pixels: number[]}` or `{image: base64 or data URL}`; both limits hold before anything is decoded. */
export const imageRow = z.strictObject({
  pixels: z.strictObject({ length: z.number().int().positive(), minimum: z.number(), maximum: z.number() }).optional(),
  image: z.strictObject({
    formats: z.array(z.enum(['png', 'jpeg'])).min(1),
    max_bytes: z.number().int().positive(),
    max_pixels: z.number().int().positive(),
  }),
});

/** Decode → composite over white → luma → polarity → pad to a square → area average; tensor `[1, height, width]` in 0…1. */
export const imagePreprocess = z.strictObject({
  type: z.literal('image'),
  width: z.number().int().positive(),
  height: z.number().int().positive(),
  color: z.literal('grayscale'),
  polarity: z.enum(['auto', 'keep', 'invert']),
  fit: z.literal('contain'),
  resample: z.literal('area'),
  /** Rows of pixels are divided by this. */
  pixel_scale: z.number().positive(),
});
export type ImagePreprocess = z.infer<typeof imagePreprocess>;

const MAX_SIDE = 8192;
const side = z.number().int().positive().max(MAX_SIDE);
const byte = z.number().int().min(0).max(255);
/** One for all channels, or one for each. */
const perChannel = z.union([z.number(), z.array(z.number()).min(1).max(3)]);

/**
 * Decode → alpha → colour → resize → crop or pad → `(value · scale - mean) / std`, in the order and with the arithmetic of the
 * common training pipelines (Pillow, torchvision): a pixel of the tensor is equal to theirs, not near it.
 */
export const photoPreprocess = z
  .strictObject({
    type: z.literal('photo'),
    width: side,
    height: side,
    color: z.enum(['rgb', 'bgr', 'grayscale']),
    /**
     * `stretch`: to the size, whatever the shape. `contain`: the whole picture, padded with `pad_color`. `cover`: the middle
     * part of the shape of the tensor. `center_crop`: the shorter side to `shorter_side`, then the middle.
     */
    fit: z.enum(['stretch', 'contain', 'cover', 'center_crop']),
    /** Of `center_crop`; without it the picture is cropped as it is. */
    shorter_side: side.optional(),
    resample: z.enum(['nearest', 'box', 'bilinear', 'bicubic', 'lanczos']),
    pad_color: z.union([byte, z.array(byte).length(3)]).optional(),
    /** `composite`, over `background`, unless said otherwise. */
    alpha: z.enum(['composite', 'drop', 'refuse']).optional(),
    background: z.union([byte, z.array(byte).length(3)]).optional(),
    /** 1/255 unless given. */
    scale: z.number().positive().optional(),
    mean: perChannel.optional(),
    std: perChannel.optional(),
    layout: z.enum(['NCHW', 'NHWC']),
    /** How many times as long as wide a picture may be, 100 unless given: a hair's breadth costs time out of all proportion. */
    max_aspect_ratio: z.number().min(1).max(10_000).optional(),
  })
  .refine(({ fit, shorter_side }) => shorter_side === undefined || fit === 'center_crop', {
    message: 'shorter_side is for center_crop',
    path: ['shorter_side'],
  })
  .refine(({ color, mean, std }) => [mean, std].every((value) => fitsChannels(value, color)), {
    message: 'mean and std have one number, or one for each channel',
    path: ['mean'],
  })
  .refine(({ std }) => std === undefined || [std].flat().every((value) => value !== 0), {
    message: 'a standard deviation is not 0',
    path: ['std'],
  });
export type PhotoPreprocess = z.infer<typeof photoPreprocess>;

function fitsChannels(value: number | number[] | undefined, color: string): boolean {
  return !Array.isArray(value) || value.length === (color === 'grayscale' ? 1 : 3);
}

export const imageRowPreprocess = z.discriminatedUnion('type', [imagePreprocess, photoPreprocess]);

import type { PhotoPreprocess } from '@onqueue/shared';
import type { Axis } from './pillow-resample.ts';

/**
 * Where a picture goes: along each axis what part of it is resized to how many pixels, which of these are wanted, and at which
 * pixel of the tensor the first of them lies.
 */
export type PictureFit = { x: FittedAxis; y: FittedAxis };
type FittedAxis = Axis & { at: number };

type Size = { width: number; height: number };

/** The arithmetic is that of Pillow's `ImageOps` and of torchvision, roundings included. */
export function pictureFit(picture: Size, preprocess: PhotoPreprocess): PictureFit {
  return FITS[preprocess.fit](picture, preprocess);
}

const FITS: Record<PhotoPreprocess['fit'], (picture: Size, preprocess: PhotoPreprocess) => PictureFit> = {
  stretch: (picture, { width, height }) => ({
    x: whole(picture.width, width),
    y: whole(picture.height, height),
  }),

  /** `ImageOps.pad`. */
  contain(picture, { width, height }) {
    const shape = picture.width / picture.height;
    const inner = { width, height };
    if (shape > width / height) inner.height = Math.max(roundHalfEven((picture.height / picture.width) * width), 1);
    else if (shape < width / height) inner.width = Math.max(roundHalfEven(shape * height), 1);
    return {
      x: { ...whole(picture.width, inner.width), at: roundHalfEven((width - inner.width) * 0.5) },
      y: { ...whole(picture.height, inner.height), at: roundHalfEven((height - inner.height) * 0.5) },
    };
  },

  /** `ImageOps.fit`: the middle part is resized, without a crop to whole pixels between. */
  cover(picture, { width, height }) {
    const shape = width / height;
    const isWide = picture.width / picture.height >= shape;
    const part = isWide
      ? { width: shape * picture.height, height: picture.height }
      : { width: picture.width, height: picture.width / shape };
    return {
      x: { ...middle(picture.width, part.width), ...all(width) },
      y: { ...middle(picture.height, part.height), ...all(height) },
    };
  },

  /** `Resize(shorter_side)` and `CenterCrop` of torchvision. */
  center_crop(picture, { width, height, shorter_side: shorter }) {
    const resized = shorter === undefined ? picture : withShorterSide(picture, shorter);
    return {
      x: { from: 0, to: picture.width, size: resized.width, ...crop(resized.width, width) },
      y: { from: 0, to: picture.height, size: resized.height, ...crop(resized.height, height) },
    };
  },
};

function whole(from: number, to: number): FittedAxis {
  return { from: 0, to: from, ...all(to) };
}

function all(size: number) {
  return { size, first: 0, length: size, at: 0 };
}

function middle(size: number, part: number): { from: number; to: number } {
  const from = (size - part) * 0.5;
  return { from, to: from + part };
}

function withShorterSide({ width, height }: Size, shorter: number): Size {
  const longer = Math.trunc((shorter * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: shorter, height: longer } : { width: longer, height: shorter };
}

function crop(size: number, wanted: number): { first: number; length: number; at: number } {
  if (size < wanted) return { first: 0, length: size, at: Math.floor((wanted - size) / 2) };
  return { first: roundHalfEven((size - wanted) / 2), length: wanted, at: 0 };
}

/** As Python rounds. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

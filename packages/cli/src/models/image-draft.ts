import type { ModelManifest } from '@onqueue/shared';
import type { PictureShape } from './row-kind-choice.ts';

type ImageManifest = Extract<ModelManifest, { kind: 'image' }>;

/** What of a manifest makes pictures of its rows. The graph says the size and nothing of how its training read pictures. */
export function imageSection(picture: PictureShape): Pick<ImageManifest, 'kind' | 'row' | 'preprocess'> {
  const { width, height, channels, layout, dtype } = picture;
  return {
    kind: 'image',
    row: { image: { formats: ['png', 'jpeg'], max_bytes: 2_000_000, max_pixels: 25_000_000 } },
    preprocess: {
      type: 'photo',
      width,
      height,
      color: channels === 1 ? 'grayscale' : 'rgb',
      fit: 'stretch',
      resample: 'bilinear',
      layout,
      // As bytes they are taken as they are.
      ...(dtype === 'uint8' ? {} : { scale: 1 / 255, mean: 0, std: 1 }),
    },
  };
}

/** What a person has to know of it. */
export const IMAGE_COMMENTS: readonly string[] = [
  'How training read pictures is guessed, all but the size: fit, resample, color (rgb or bgr), scale, mean and std',
  '(of ImageNet: "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]). See docs/guides/models.md.',
];

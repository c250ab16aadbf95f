import type { Postprocess } from '@onqueue/shared';
import type { PicturePlace } from '../row-kinds/picture-place.ts';

/** Left, top, right, bottom. */
export type Box = readonly [number, number, number, number];

type BoxFormat = Extract<Postprocess, { type: 'detect' }>['box_format'];

export function cornersOf([a, b, c, d]: Box, format: BoxFormat): Box {
  if (format === 'xyxy') return [a, b, c, d];
  return format === 'xywh' ? [a, b, a + c, b + d] : [a - c / 2, b - d / 2, a + c / 2, b + d / 2];
}

/** From pixels of the tensor to those of the picture, and no further than its edges. */
export function inPicture([left, top, right, bottom]: Box, place: PicturePlace): Box {
  const x = (value: number) => Math.min(Math.max((value - place.offsetX) / place.scaleX, 0), place.width);
  const y = (value: number) => Math.min(Math.max((value - place.offsetY) / place.scaleY, 0), place.height);
  return [x(left), y(top), x(right), y(bottom)];
}

/** The part of two boxes together that both of them cover: 0 of boxes apart, and of those without an area. */
function overlap(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (areaOf(a) + areaOf(b) - width * height);
}

function areaOf([left, top, right, bottom]: Box): number {
  return (right - left) * (bottom - top);
}

export type Candidate = { box: Box; classIndex: number; score: number };

/**
 * Non-maximum suppression: of candidates, the best first, those that overlap none that was kept before by more than a threshold.
 * Boxes of different classes leave each other alone, unless `isAgnostic`.
 */
export function withoutOverlaps(
  candidates: readonly Candidate[],
  { threshold, isAgnostic, atMost }: { threshold: number; isAgnostic: boolean; atMost: number },
): Candidate[] {
  const kept: Candidate[] = [];
  for (const candidate of candidates) {
    if (kept.length === atMost) break;
    const isCovered = kept.some(
      ({ box, classIndex }) =>
        (isAgnostic || classIndex === candidate.classIndex) && overlap(box, candidate.box) > threshold,
    );
    if (!isCovered) kept.push(candidate);
  }
  return kept;
}

import type { ModelManifest, Postprocess, RowResult } from '@onqueue/shared';
import { ModelLoadError } from '../model-load-error.ts';
import { NON_FINITE } from '../non-finite.ts';
import type { BatchPostprocess } from '../postprocess.ts';
import type { PicturePlace } from '../row-kinds/picture-place.ts';
import { type Candidate, cornersOf, inPicture, withoutOverlaps } from './box.ts';
import { type CandidateTable, candidateReader } from './candidate-table.ts';

type Detect = Extract<Postprocess, { type: 'detect' }>;

const DEFAULT_MAX_CANDIDATES = 1000;

/** Boxes with a class and a score; of a picture in its own pixels, of other rows in those of the graph. */
export function detections(manifest: ModelManifest, detect: Detect): BatchPostprocess {
  const reader = candidateReader(manifest, detect);
  const { labels, labels_file: labelsFile } = detect;
  if (labels && reader.classes !== undefined && labels.length !== reader.classes) {
    const source = labelsFile ? labelsFile.file : 'The manifest';
    throw new ModelLoadError(`${source} has ${labels.length} labels, the outputs have ${reader.classes} classes.`);
  }
  const size = tensorSize(manifest, detect);
  return {
    outputs: reader.outputs,
    results: (fetches, batch, _lengths, context) =>
      reader.tables(fetches, batch).map((table, row): RowResult => {
        const candidates = candidatesOf(table, detect, size);
        if (!candidates) return NON_FINITE;
        const kept = withoutOverlaps(candidates, {
          threshold: detect.iou_threshold,
          isAgnostic: detect.class_agnostic === true,
          atMost: detect.max_detections,
        });
        return {
          status: 'succeeded',
          output: { detections: kept.map((one) => shown(one, labels, context?.places?.[row])) },
        };
      }),
  };
}

/** What one unit of a coordinate is in pixels of the tensor. */
function tensorSize({ kind, preprocess }: ModelManifest, { coordinates }: Detect): { width: number; height: number } {
  if (coordinates === 'pixels' || kind !== 'image') return { width: 1, height: 1 };
  return preprocess as { width: number; height: number };
}

/** The best first; undefined when a score, or the box of one that counts, is no number. */
function candidatesOf(
  table: CandidateTable,
  detect: Detect,
  { width, height }: { width: number; height: number },
): Candidate[] | undefined {
  const candidates: Candidate[] = [];
  for (let index = 0; index < table.count; index++) {
    const places = placesAbove(table, index, detect);
    if (!places) return undefined;
    if (places.length === 0) continue;
    const [left, top, right, bottom] = cornersOf(table.box(index), detect.box_format);
    const box = [left * width, top * height, right * width, bottom * height] as const;
    if (!box.every(Number.isFinite)) return undefined;
    for (const place of places) {
      candidates.push({ box, classIndex: table.classOf(index, place), score: table.score(index, place) });
    }
  }
  const { max_candidates: most = DEFAULT_MAX_CANDIDATES } = detect;
  return candidates.sort((a, b) => b.score - a.score).slice(0, most);
}

/** Which scores of a candidate reach the threshold: all, or the best alone. Undefined when one is no number. */
function placesAbove(table: CandidateTable, index: number, detect: Detect): number[] | undefined {
  const above: number[] = [];
  let best = { place: -1, score: Number.NEGATIVE_INFINITY };
  for (let place = 0; place < table.classes; place++) {
    const score = table.score(index, place);
    if (!Number.isFinite(score)) return undefined;
    if (score >= detect.score_threshold) above.push(place);
    if (score > best.score) best = { place, score };
  }
  return detect.multi_class || above.length === 0 ? above : [best.place];
}

function shown({ box, classIndex, score }: Candidate, labels: readonly string[] | undefined, place?: PicturePlace) {
  const label = labels?.[classIndex];
  return {
    ...(label === undefined ? {} : { label }),
    class: classIndex,
    score,
    box: place ? inPicture(box, place) : box,
  };
}

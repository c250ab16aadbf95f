import { relative } from 'node:path';
import type { AddedModel } from './add-model.ts';

export function addedText(added: AddedModel, cwd: string): string {
  const { name, version, kind, batch_reason, postprocess, postprocess_reason, golden_rows, tolerance, notes, curl } =
    added;
  const folder = relative(cwd, added.folder) || added.folder;
  return [
    `${name}/${version} is ready in ${folder}`,
    `  rows    of the kind ${kind}`,
    `  batch   ${batch_reason}`,
    `  answer  ${postprocess.type}: ${postprocess_reason}`,
    `  golden  ${golden_rows} ${added.is_synthetic ? 'made-up rows: they prove that answers stay the same, not that they are right' : 'rows of yours'}; tolerance ${tolerance}`,
    ...notes.map((note) => `  note    ${note}`),
    '',
    `Read ${folder}/model.json and change what is not yours yet, then: onqueue models check ${folder}`,
    'Workers that watch this repository serve it within seconds. To call it:',
    '',
    curl,
  ].join('\n');
}

import { pathToFileURL } from 'node:url';

/** A folder of this machine, and what those call it who are not on it; '' where paths are relative to it. */
export type KnownFolder = { folder: string; name: string };

/**
 * A text for clients: paths in known folders become relative ones. Where the files of a worker lie helps nobody who asks over HTTP, and
 * tells strangers about the machine. Other paths stay: names in graphs look like them, such as `/encoder/Add`.
 */
export function withoutMachinePaths(text: string, known: readonly KnownFolder[]): string {
  // A folder within another has a better name.
  const inward = known
    .filter(({ folder }) => folder.replace(/\/+$/, '') !== '')
    .flatMap(({ folder, name }) => [
      { folder, name },
      // As stack traces have them.
      ...(folder.includes('://') ? [] : [{ folder: pathToFileURL(folder).href, name }]),
    ])
    .toSorted((a, b) => b.folder.length - a.folder.length);
  return inward.reduce((told, { folder, name }) => told.replace(pathIn(folder), (_, slash) => join(name, slash)), text);
}

/** The folder and the slash behind it; not one that begins with the same letters. */
function pathIn(folder: string): RegExp {
  const escaped = folder.replace(/\/+$/, '').replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(String.raw`(?<![\w.-])${escaped}(?:(/)|(?![\w.-]*[\w-]))`, 'g');
}

function join(name: string, slash: string | undefined): string {
  if (name === '') return slash ? '' : '.';
  return slash ? `${name}/` : name;
}

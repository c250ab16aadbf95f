import { access, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type ModelManifest, modelManifest } from '@onqueue/shared';
import jsonc, { type ParseError } from 'jsonc-parser';
import { ExportError, type GraphInspector, manifestOfExport } from './hugging-face-export.ts';
import { readTextFile } from './regular-file.ts';

const MANIFEST = 'model.json';
const MANIFEST_BYTES = 8 * 1024 * 1024;

/** A version folder that can be served, or why it cannot; `folder` is absolute. */
export type RepositoryEntry =
  | { folder: string; manifest: ModelManifest; error?: undefined }
  | { folder: string; manifest?: undefined; error: ManifestProblem };

/** `file` is absolute, `pointer` a JSON pointer into it; `message` holds both, for a log line. */
type ManifestProblem = { file: string; pointer?: string; detail: string; message: string };

/**
 * Every `<modelsDir>/<name>/<version>/`, in the order of names and versions. A broken folder becomes an entry with an
 * error and hides no other; rejects only when `modelsDir` itself cannot be read. With `inspect`, a folder of Hugging Face Optimum needs no
 * manifest.
 */
export async function scanModelRepository(options: {
  modelsDir: string;
  inspect?: GraphInspector | undefined;
}): Promise<RepositoryEntry[]> {
  const { modelsDir, inspect } = options;
  const root = resolve(modelsDir);
  const entries: RepositoryEntry[] = [];
  for (const name of await subfolders(root)) {
    for (const version of await subfolders(join(root, name))) {
      entries.push(await readVersion({ folder: join(root, name, version), name, version, inspect }));
    }
  }
  return entries;
}

/** One version folder, wherever it lies and whatever it is called: for whoever checks it before it is served. */
export function readVersionFolder(folder: string): Promise<RepositoryEntry> {
  return readVersion({ folder: resolve(folder) });
}

type VersionPlace = { folder: string; name?: string; version?: string; inspect?: GraphInspector | undefined };

/** Links are followed: deployments switch versions by linking folders. */
async function subfolders(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  const isFolder = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (s) => s.isDirectory(),
        () => false,
      ),
    ),
  );
  return names.filter((_, index) => isFolder[index]).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

async function readVersion(place: VersionPlace): Promise<RepositoryEntry> {
  const { folder } = place;
  const file = join(folder, MANIFEST);
  try {
    return { folder, manifest: (await derivedManifest(file, place)) ?? (await readManifest(file, place)) };
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    return { folder, error: error.problem };
  }
}

/** Of an export without a manifest of its own. */
async function derivedManifest(file: string, { folder, name, version, inspect }: VersionPlace) {
  if (!inspect) return undefined;
  const hasOwn = await access(file).then(
    () => true,
    () => false,
  );
  if (hasOwn) return undefined;
  const place = { folder, name: name ?? basename(dirname(folder)), version: version ?? basename(folder) };
  return manifestOfExport({ ...place, inspect }).catch((error: unknown) => {
    throw error instanceof ExportError ? problem(error.file, error.message, error.pointer) : error;
  });
}

async function readManifest(file: string, place: VersionPlace) {
  const text = await readTextFile(file, { maxBytes: MANIFEST_BYTES }).catch((error: Error) => {
    throw problem(file, `cannot be read: ${error.message}`);
  });
  const parsed = modelManifest.safeParse(parseJson(file, text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw problem(file, issue?.message ?? 'is not a manifest', pointerOf(issue?.path ?? []));
  }
  const manifest = parsed.data;
  for (const field of ['name', 'version'] as const) {
    if (place[field] !== undefined && manifest[field] !== place[field]) {
      throw problem(file, `is "${manifest[field]}" where the folder says "${place[field]}"`, `/${field}`);
    }
  }
  await mustExist(file, join(place.folder, manifest.artifact.file), '/artifact/file');
  for (const [index, data] of (manifest.artifact.data ?? []).entries()) {
    await mustExist(file, join(place.folder, data.file), `/artifact/data/${index}/file`);
  }
  if (!manifest.golden) {
    throw problem(file, 'has no golden rows, which prove that rows are read as training did', '/golden');
  }
  await mustExist(file, join(place.folder, manifest.golden.file), '/golden/file');
  return manifest;
}

/** JSON, with comments and commas behind the last member for those who like them. */
function parseJson(file: string, text: string): unknown {
  const faults: ParseError[] = [];
  const value: unknown = jsonc.parse(text, faults, { allowTrailingComma: true });
  const [fault] = faults;
  if (!fault) return value;
  const line = text.slice(0, fault.offset).split('\n').length;
  throw problem(file, `is not JSON: ${jsonc.printParseErrorCode(fault.error)} in line ${line}`);
}

async function mustExist(file: string, path: string, pointer: string): Promise<void> {
  await access(path).catch(() => {
    throw problem(file, `names ${path}, which cannot be read`, pointer);
  });
}

class ProblemError extends Error {
  readonly problem: ManifestProblem;

  constructor(problem: ManifestProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

function problem(file: string, detail: string, pointer?: string): ProblemError {
  const at = pointer === undefined ? '' : `#${pointer}`;
  return new ProblemError({
    file,
    detail,
    ...(pointer === undefined ? {} : { pointer }),
    message: `${file}${at}: ${detail}`,
  });
}

function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

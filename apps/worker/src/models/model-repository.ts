import { access } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type ModelManifest, modelManifest } from '@onqueue/shared';
import jsonc, { type ParseError } from 'jsonc-parser';
import { type GraphReader, outlineOf } from '../onnx/graph-outline.ts';
import { readOnnxModel } from '../onnx/onnx-model.ts';
import { fileSha256 } from './artifact.ts';
import { FolderModelSource } from './folder-model-source.ts';
import { manifestOfExport } from './hugging-face-export.ts';
import { ExportError } from './hugging-face-files.ts';
import { readTextFile } from './regular-file.ts';

const MANIFEST = 'model.json';
const MANIFEST_BYTES = 8 * 1024 * 1024;

/** A version folder that can be served, or why it cannot; `folder` is absolute. */
export type RepositoryEntry =
  | { folder: string; manifest: ModelManifest; error?: undefined }
  | { folder: string; manifest?: undefined; error: ManifestProblem };

/** `file` is absolute, `pointer` a JSON pointer into it; `message` holds both, for a log line. */
export type ManifestProblem = { file: string; pointer?: string; detail: string; message: string };

/**
 * Every `<modelsDir>/<name>/<version>/`, in the order of names and versions. A broken folder becomes an entry with an
 * error and hides no other; rejects only when `modelsDir` itself cannot be read.
 */
export async function scanModelRepository({ modelsDir }: { modelsDir: string }): Promise<RepositoryEntry[]> {
  const source = new FolderModelSource({ modelsDir });
  const { versions } = await source.list();
  const entries: RepositoryEntry[] = [];
  for (const { name, version } of versions) {
    entries.push(await readVersion({ folder: join(source.location, name, version), name, version }, readGraphHere));
  }
  return entries;
}

/** One version folder, wherever it lies and whatever it is called: for whoever checks it before it is served. */
export function readVersionFolder(folder: string): Promise<RepositoryEntry> {
  return readVersion({ folder: resolve(folder) }, readGraphHere);
}

/** In this process, which may take its time: that of a tool, which serves nobody meanwhile. */
async function readGraphHere(path: string) {
  return outlineOf(await readOnnxModel(path));
}

type VersionPlace = { folder: string; name?: string; version?: string };

/** What is in the folder of a version: its manifest, if that can be served, and every file that it names is there. */
async function readVersion(place: VersionPlace, readGraph: GraphReader): Promise<RepositoryEntry> {
  const { folder } = place;
  const file = join(folder, MANIFEST);
  try {
    return { folder, manifest: (await derivedManifest(file, place, readGraph)) ?? (await readManifest(file, place)) };
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    return { folder, error: error.problem };
  }
}

/** Of an export without a manifest of its own. */
async function derivedManifest(file: string, { folder, ...place }: VersionPlace, readGraph: GraphReader) {
  const hasOwn = await access(file).then(
    () => true,
    () => false,
  );
  if (hasOwn) return undefined;
  const { name = basename(dirname(folder)), version = basename(folder) } = place;
  return manifestOfExport({ folder, name, version }, readGraph).catch((error: unknown) => {
    throw error instanceof ExportError ? problem(error.file, error.message, error.pointer) : error;
  });
}

/** The same, with the artifact read to its end: a copy that is under way has the name before it has the bytes. */
export async function readWholeVersion(
  place: { folder: string; name: string; version: string },
  readGraph: GraphReader,
): Promise<RepositoryEntry> {
  const entry = await readVersion(place, readGraph);
  if (!entry.manifest) return entry;
  const { folder, manifest } = entry;
  const { data = [], ...graph } = manifest.artifact;
  for (const { file, sha256 } of [graph, ...data]) {
    const found = await fileSha256(join(folder, file)).catch((error: Error) => error);
    if (found === sha256) continue;
    const detail =
      found instanceof Error
        ? `names ${join(folder, file)}, which cannot be read: ${found.message}`
        : `says ${sha256}, where ${join(folder, file)} has the SHA-256 ${found}`;
    return { folder, error: problem(join(folder, MANIFEST), detail, '/artifact/sha256').problem };
  }
  return entry;
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
  if (!manifest.golden)
    throw problem(file, 'has no golden rows, which prove that rows are read as training did', '/golden');
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

import { z } from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 is 64 lower-case hex digits');

export const relativeFile = z
  .string()
  .min(1)
  .refine(
    (path) => !path.startsWith('/') && !path.split(/[\\/]/).includes('..'),
    'stay inside the folder of the version',
  );

/** A file beside the model that is part of what it does: a changed one is another version. */
export const declaredFile = z.strictObject({ file: relativeFile, sha256 });
export type DeclaredFile = z.infer<typeof declaredFile>;

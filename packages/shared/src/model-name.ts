import { z } from 'zod';

export const modelName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$/, 'a model name is 1-64 of a-z, 0-9, - and _');
export const modelVersion = z
  .string()
  .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/, 'a version is 1-64 of letters, digits, ., _ and -');

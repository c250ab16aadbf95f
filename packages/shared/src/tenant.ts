/** Who owns a job; part of every key of a job. Without API keys everybody is this one. */
export const DEFAULT_TENANT = 'default';

/** What a request says about answers that are kept. */
export interface CacheWish {
  /** Whether one will do. */
  mayReuse: boolean;
  /** Whether its own may be kept for others. */
  mayKeep: boolean;
}

/** RFC 9111: `no-cache` wants a fresh answer, `no-store` one that is kept nowhere either. The rest is passed over. */
export function parseCacheControl(header: string | undefined): CacheWish {
  const directives = new Set((header ?? '').split(',').map((item) => item.trim().toLowerCase()));
  const mayKeep = !directives.has('no-store');
  return { mayKeep, mayReuse: mayKeep && !directives.has('no-cache') };
}

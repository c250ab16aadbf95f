/** What was looked at, how it is, and what to do about it. */
export interface Finding {
  check: string;
  /** `info`: it could not be looked at, or is for you to know. `error`: the platform cannot work so. */
  status: 'ok' | 'info' | 'warning' | 'error';
  message: string;
  /** There for everything that can be mended. */
  remedy?: string;
}

const MARKS = { ok: 'ok     ', info: 'info   ', warning: 'warning', error: 'ERROR  ' } as const;

export function findingsText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, status, message, remedy }) => [
    `${MARKS[status]}  ${check.padEnd(width)}  ${message}`,
    ...(remedy === undefined ? [] : [`${' '.repeat(width + 11)}→ ${remedy}`]),
  ]);
  const errors = findings.filter(({ status }) => status === 'error').length;
  const warnings = findings.filter(({ status }) => status === 'warning').length;
  const verdict = errors + warnings === 0 ? 'All is well.' : `${errors} errors, ${warnings} warnings.`;
  return [...lines, '', verdict].join('\n');
}

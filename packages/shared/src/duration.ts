const UNITS_S = { d: 86_400, h: 3600, m: 60, s: 1 } as const;
const DURATION = /^(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?$/;

/** Seconds of `90`, `90s`, `5m` or `1h30m`; undefined when it is no duration. */
export function parseDurationS(text: string): number | undefined {
  const match = DURATION.exec(text.trim());
  if (!match || text.trim() === '') return undefined;
  const [, days, hours, minutes, seconds] = match;
  const parts = { d: days, h: hours, m: minutes, s: seconds };
  return Object.entries(parts).reduce(
    (sum, [unit, count]) => sum + Number(count ?? 0) * UNITS_S[unit as keyof typeof UNITS_S],
    0,
  );
}

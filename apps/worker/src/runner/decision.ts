import type { DecisionPolicy } from '@onqueue/shared';

/** The first band that the score falls into: `above` is exclusive, `from` inclusive, the last band is what remains. */
export function decide({ bands }: DecisionPolicy, score: number): string {
  const band = bands.find(
    ({ above, from }) => (above === undefined || score > above) && (from === undefined || score >= from),
  );
  if (!band) throw new Error('A decision policy has no last band without bounds. This is a bug.');
  return band.decision;
}

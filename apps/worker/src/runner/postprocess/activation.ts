import type { Numbers } from '../output-numbers.ts';

type Activation = 'softmax' | 'sigmoid' | 'none';

/** From logits to probabilities, in float64. */
export function activated(values: Numbers, activation: Activation): Numbers {
  if (activation === 'softmax') return softmax(values);
  return activation === 'sigmoid' ? Float64Array.from(values, sigmoid) : values;
}

/** Of either sign without an exponential that overflows. */
export function sigmoid(value: number): number {
  if (value >= 0) return 1 / (1 + Math.exp(-value));
  const exponential = Math.exp(value);
  return exponential / (1 + exponential);
}

/** Shifted by the maximum so that no exponential overflows. */
function softmax(logits: Numbers): Float64Array {
  const maximum = largest(logits);
  const exponentials = Float64Array.from(logits, (logit) => Math.exp(logit - maximum));
  const sum = exponentials.reduce((total, exponential) => total + exponential, 0);
  return exponentials.map((exponential) => exponential / sum);
}

/** Of however many values: as arguments of `Math.max` there may be too many. */
export function largest(values: Numbers): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  return most;
}

import { parseDurationS } from '@onqueue/shared';
import { InvalidArgumentError } from 'commander';

/** `90`, `90s`, `5m`, `1h30m`. */
export function durationS(text: string): number {
  const seconds = parseDurationS(text);
  if (seconds === undefined) throw new InvalidArgumentError('It is a time such as 90s, 5m or 1h30m.');
  return seconds;
}

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is a number.');
  return value;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It is a whole number.');
  return Number(text);
}

/** `read,write` */
export function list(text: string): string[] {
  return text.split(',').map((item) => item.trim());
}

/** Gathers `key=value` of an option that may be given several times. */
export function keyValue(text: string, before: Record<string, string> = {}): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('It is key=value.');
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

import { expect, test } from '@jest/globals';
import { createSecretSeal, parseMasterKey } from './secret-seal.ts';

const [first, second] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const secret = 'whsec_c2VjcmV0';

test('what is sealed is opened for its owner, and reads differently every time', () => {
  const seal = createSecretSeal([first]);
  const sealed = seal.seal(secret, 'a');
  expect(seal.open(sealed, 'a')).toBe(secret);
  expect(sealed).not.toContain(secret);
  expect(seal.seal(secret, 'a')).not.toBe(sealed);
});

test('another owner, another key and a changed text open nothing', () => {
  const seal = createSecretSeal([first]);
  const sealed = seal.seal(secret, 'a');
  expect(() => seal.open(sealed, 'b')).toThrow('cannot be opened');
  expect(() => createSecretSeal([second]).open(sealed, 'a')).toThrow('cannot be opened');
  expect(() => createSecretSeal([]).open(sealed, 'a')).toThrow('cannot be opened');
  const bytes = Buffer.from(sealed.slice('aes-256-gcm:'.length), 'base64');
  for (let i = 0; i < bytes.length; i++) {
    const changed = Buffer.from(bytes);
    changed[i] = (changed[i] ?? 0) ^ 1;
    expect(() => seal.open(`aes-256-gcm:${changed.toString('base64')}`, 'a')).toThrow('cannot be opened');
  }
});

test('after a new master key was put first, the older one still opens', () => {
  const sealed = createSecretSeal([first]).seal(secret, 'a');
  const both = createSecretSeal([second, first]);
  expect(both.open(sealed, 'a')).toBe(secret);
  expect(createSecretSeal([second]).open(both.seal(secret, 'a'), 'a')).toBe(secret);
});

test('without a master key secrets are kept as they are, and stay readable with one', () => {
  const sealed = createSecretSeal([]).seal(secret, 'a');
  expect(sealed).toBe(`plain:${secret}`);
  expect(createSecretSeal([first]).open(sealed, 'a')).toBe(secret);
});

test('a master key has 32 bytes', () => {
  expect(parseMasterKey(first.toString('base64'))).toEqual(first);
  expect(() => parseMasterKey('AAAA')).toThrow('32 bytes, this one has 3');
});

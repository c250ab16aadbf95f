import { describe, expect, test } from '@jest/globals';
import { countMembers, duplicateKey } from './json-members.ts';
import { scanJson } from './json-scan.ts';

const find = (text: string) => duplicateKey(Buffer.from(text));
const scanned = (text: string) => scanJson(Buffer.from(text), { maxDepth: 32, maxNodes: 1e9, maxKeys: 1e9 });

describe('members', () => {
  test.each([
    '{}',
    '[1,"a:b",{"a":{"b":[{"c":null}]},"d":": :"}]',
    '{"a\\":":1,"\\\\":2,"":3,"__proto__":{"x":1}}',
    ' { "a" : { } , "b" : [ { "a" : 1 } , { "a" : 2 } ] } ',
    '"text"',
    'null',
  ])('of %s are as many before parsing as after', (text) => {
    expect(scanned(text)).toEqual({ passed: null, members: countMembers(JSON.parse(text)) });
    expect(find(text)).toBeUndefined();
  });

  test.each([
    ['{"model":"a","input":{},"model":"b"}', ['model']],
    ['{"a":1,"\\u0061":2}', ['a']],
    ['{"inputs":[{"x":1},[2,{"y":"}","y":1}]]}', ['inputs', 1, 1, 'y']],
    ['{"a":{"b":1},"c":{"b":1,"b":{}}}', ['c', 'b']],
    ['{"é":1,"é":2}', ['é']],
    ['{"__proto__":1,"__proto__":2}', ['__proto__']],
  ])('of %s are fewer after parsing, since one key is there twice', (text, path) => {
    expect(countMembers(JSON.parse(text))).toBeLessThan(scanned(text).members);
    expect(find(text)).toEqual(path);
  });
});

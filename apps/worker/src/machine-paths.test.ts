import { expect, test } from '@jest/globals';
import { withoutMachinePaths } from './machine-paths.ts';

const known = [
  { folder: '/srv/models', name: '' },
  { folder: '/var/cache/oq/models/3f', name: 'fraud/2' },
  { folder: '/var/cache/oq', name: 'cache' },
  { folder: 's3://bucket/prefix/', name: '' },
  { folder: '/', name: 'nothing' },
];

test.each([
  ['/srv/models/fraud/2/model.json#/name: is wrong', 'fraud/2/model.json#/name: is wrong'],
  ["EACCES: permission denied, mkdir '/srv/models'", "EACCES: permission denied, mkdir '.'"],
  ['It is in /srv/models. Or not.', 'It is in .. Or not.'],
  ['/var/cache/oq/models/3f/model.onnx and /var/cache/oq/x', 'fraud/2/model.onnx and cache/x'],
  ['no space in /var/cache/oq', 'no space in cache'],
  ['at file:///var/cache/oq/models/3f/code.js:3', 'at fraud/2/code.js:3'],
  ['s3://bucket/prefix/fraud/2/model.json: cannot be read', 'fraud/2/model.json: cannot be read'],
])('what is in a known folder is told by its name there: %s', (text, told) => {
  expect(withoutMachinePaths(text, known)).toBe(told);
});

test.each([
  'the node "/encoder/layer.0/Add"',
  '/srv/models-old/fraud/2/model.json',
  '/srv/models.old',
  '/mnt/srv/models/fraud',
  's3://bucket/prefixed/fraud',
])('what only looks like one stays: %s', (text) => {
  expect(withoutMachinePaths(text, known)).toBe(text);
});

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import {
  generateWebhookSecret,
  JOB_ERRORS,
  modelManifest,
  PROBLEMS,
  parseWebhookSecret,
  ROW_ERRORS,
  SETTINGS,
  unknownSettings,
  webhookHeaders,
} from '@onqueue/shared';
import { transformSync } from '@swc/core';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const documents = markdownFiles(root);

interface GeneratedDocs {
  generatedDocs(tables: object): Record<string, string>;
}
const { generatedDocs } = (await import(
  new URL('../scripts/docs/generated-docs.mjs', import.meta.url).href
)) as GeneratedDocs;
const generated = generatedDocs({ SETTINGS, PROBLEMS, ROW_ERRORS, JOB_ERRORS });

describe('documents that are generated', () => {
  test.each(Object.keys(generated))('%s is what the code says; npm run docs writes it', (path) => {
    expect(read(path)).toBe(generated[path]);
  });
});

test('the table of job errors has every code that a script or the worker gives a job', () => {
  const scripts = 'packages/shared/src/redis/scripts';
  const files = [
    ...readdirSync(join(root, scripts)).map((name) => `${scripts}/${name}`),
    'apps/worker/src/queue/job-source.ts',
    'apps/worker/src/payload-handler.ts',
  ];
  const codes = files.flatMap((path) => [...read(path).matchAll(/\bcode(?:: JobErrorCode)? = '(\w+)'/g)]);
  expect(new Set(codes.map(([, code]) => code))).toEqual(new Set(Object.keys(JOB_ERRORS)));
});

describe('every document', () => {
  test('names only settings that exist', () => {
    const files = [...documents, 'docker-compose.yml', 'deploy/Dockerfile'];
    const unknown = files.flatMap((path) => {
      const names = read(path).match(/\bONQUEUE_[A-Z0-9_]*[A-Z0-9]/g) ?? [];
      return unknownSettings(Object.fromEntries(names.map((name) => [name, '']))).map((name) => `${path}: ${name}`);
    });
    expect(unknown).toEqual([]);
  });

  test('links to files and headings that exist', () => {
    const broken = documents.flatMap((path) =>
      linksOf(path)
        .filter((link) => !isThere(path, link))
        .map((link) => `${path}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  test('says what is, and promises nothing', () => {
    const ours = documents.filter((path) => !path.startsWith('models/') && !(path in generated));
    expect(ours).toContain('README.md');
    const promises = ours.flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, index) => (PROMISE.test(line) ? [`${path}:${index + 1}: ${line}`] : [])),
    );
    expect(promises).toEqual([]);
  });

  test('names only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = documents.flatMap((path) => [...read(path).matchAll(/npm run ([a-z:]+)/g)].map(([, name]) => name));
    expect(new Set(named.filter((name) => !Object.hasOwn(scripts, String(name))))).toEqual(new Set());
  });
});

describe('README.md and the guides', () => {
  test("the payment is the fraud model's example", () => {
    const { example } = JSON.parse(read('models/fraud/1/model.json')) as { example: unknown };
    const [body = ''] = /(?<=-d ')\{[^']*"fraud"[^']*\}/.exec(read('README.md')) ?? [];
    expect(JSON.parse(body)).toEqual({ model: 'fraud', input: example });
  });

  test('the deployment guide lists every metric with its labels, and no other', () => {
    const listed = [...read('docs/guides/deployment.md').matchAll(/^\| `(onqueue_\w+)` \| (\w+) \| ([^|]*)\|/gm)];
    expect(listed.map(([, name, type, labels = '']) => [name, type, labels.match(/\w+/g) ?? []]).sort()).toEqual(
      [...metricsOf('apps/api/src/metrics.ts'), ...metricsOf('apps/worker/src/metrics.ts')].sort(),
    );
  });

  test('the guides to models name every field of a manifest', () => {
    const guide = ['models', 'answers', 'custom-code'].map((name) => read(`docs/guides/${name}.md`)).join('\n');
    const isNamed = (field: string) => guide.includes(`\`${field}\``);
    const fields = [...fieldsOf(modelManifest.toJSONSchema())];
    expect(fields).toContain('max_queue_delay_ms');
    expect(fields.filter((field) => !isNamed(field))).toEqual([]);
  });
});

describe('the receivers in the guide to webhooks', () => {
  const secret = generateWebhookSecret();
  const body = JSON.stringify({ type: 'job.succeeded', data: { id: 'job_1', results: ['ü'] } });
  const headers = webhookHeaders(
    { id: 'evt_1', timestampS: Math.floor(Date.now() / 1000), body },
    { secrets: [parseWebhookSecret(secret)] },
  );
  const deliveries = [
    { headers, body },
    { headers, body },
    { headers, body: body.replace('job_1', 'job_2') },
    { headers: { ...headers, 'webhook-timestamp': '1700000000' }, body },
  ];
  const input = JSON.stringify({ secret, deliveries });

  test('in TypeScript: takes what we signed, once, and refuses what was changed or is old', () => {
    const { code } = transformSync(codeBlock('ts'), { jsc: { target: 'es2022', parser: { syntax: 'typescript' } } });
    const lines = execFileSync(process.execPath, ['--input-type=module', '--eval', code + TYPESCRIPT_DRIVER], {
      cwd: root,
      env: { PATH: process.env.PATH, ONQUEUE_WEBHOOK_SECRET: secret, INPUT: input },
      encoding: 'utf8',
    });
    expect(lines.trim().split('\n')).toEqual(['job.succeeded job_1', 'answers 204,204,401,401']);
  });

  const hasPython = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))']).status === 0;
  (hasPython ? test : test.skip)('in Python: takes what we signed and refuses what was changed or is old', () => {
    const lines = execFileSync('python3', ['-c', codeBlock('python') + PYTHON_DRIVER], { input, encoding: 'utf8' });
    expect(lines.trim().split('\n')).toEqual(['evt_1', 'evt_1', 'no signature matches', 'too old or too new']);
  });
});

/** Words of plans. Documents describe what is there. */
const PROMISE = /\b(will|soon(?! as)|planned|for now|not yet)\b/i;

const TYPESCRIPT_DRIVER = `
receiver.listen(0, '127.0.0.1', async () => {
  const statuses = [];
  for (const { headers, body } of JSON.parse(process.env.INPUT).deliveries) {
    const { status } = await fetch('http://127.0.0.1:' + receiver.address().port, { method: 'POST', headers, body });
    statuses.push(status);
  }
  console.log('answers ' + statuses);
  process.exit();
});
`;

const PYTHON_DRIVER = `

import json, sys

given = json.load(sys.stdin)
for delivery in given["deliveries"]:
    try:
        print(verify(delivery["headers"], delivery["body"].encode(), given["secret"]))
    except ValueError as error:
        print(error)
`;

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    const isOurs = !entry.name.startsWith('.') && entry.name !== 'node_modules' && entry.name !== 'dist';
    if (entry.isDirectory()) return isOurs ? markdownFiles(path) : [];
    return entry.name.endsWith('.md') ? [relative(root, path)] : [];
  });
}

/** Targets of links, those on the web left out. */
function linksOf(path: string): string[] {
  const prose = read(path).replace(/^```.*?^```/gms, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => String(link)).filter((link) => !/^\w+:/.test(link));
}

function isThere(from: string, link: string): boolean {
  const [file = '', heading] = link.split('#');
  const target = file === '' ? join(root, from) : resolve(root, dirname(from), file);
  if (!existsSync(target)) return false;
  return heading === undefined || headingsOf(target).includes(heading);
}

/** As GitHub makes anchors of them. */
function headingsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

/** [name, type, labels] of the metrics that a file makes. */
function metricsOf(path: string): [string, string, string[]][] {
  const definition = /new (Counter|Gauge|Histogram)\(\{\s*name: '(\w+)',(.*?)registers:/gs;
  return [...read(path).matchAll(definition)].map(([, type = '', name = '', rest = '']) => {
    const labels = /labelNames: \[([^\]]*)\]/.exec(rest)?.[1] ?? '';
    return [name, type.toLowerCase(), labels.match(/\w+/g) ?? []];
  });
}

/** The names of all properties, at any depth. */
function* fieldsOf(schema: unknown): Generator<string> {
  if (typeof schema !== 'object' || schema === null) return;
  for (const [key, value] of Object.entries(schema)) {
    if (key !== 'properties') yield* fieldsOf(value);
    else {
      yield* Object.keys(value as object);
      // A field may have the name of a keyword.
      for (const field of Object.values(value as object)) yield* fieldsOf(field);
    }
  }
}

function codeBlock(language: string): string {
  const [code] =
    new RegExp(`(?<=^\`\`\`${language}\\n).*?(?=^\`\`\`)`, 'ms').exec(read('docs/guides/webhooks.md')) ?? [];
  if (code === undefined) throw new Error(`The guide has no ${language}.`);
  return code;
}

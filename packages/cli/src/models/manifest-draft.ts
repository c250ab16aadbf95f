/** Comments to stand above members of the same name. */
export type DraftComments = Readonly<Record<string, readonly string[]>>;

/** Members that a person may want in the place of others, and that are no part of the manifest until then. */
export interface DraftAlternative {
  comments: readonly string[];
  members: Readonly<Record<string, unknown>>;
}

/** A manifest as a person would write it: short lists on one line, and a comment above what may have to be changed. */
export function manifestText(
  manifest: Readonly<Record<string, unknown>>,
  comments: DraftComments,
  alternative?: DraftAlternative,
): string {
  const rank = (key: string) => (ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length);
  const members = Object.entries(manifest)
    .filter(([, value]) => value !== undefined)
    .toSorted(([a], [b]) => rank(a) - rank(b))
    .map(([key, value]) => {
      const above = (comments[key] ?? []).map((line) => `  // ${line}\n`).join('');
      return `${above}  ${JSON.stringify(key)}: ${valueText(value, 2)}`;
    });
  // The comma is for what follows once its comments are gone.
  return `{\n${members.join(',\n')}${alternative ? `,\n\n${alternativeText(alternative)}` : ''}\n}\n`;
}

/** Comments as prose, members as they would stand there; what is taken off is `// ` and nothing else. */
function alternativeText({ comments, members }: DraftAlternative): string {
  const text = Object.entries(members).map(([key, value]) => `${JSON.stringify(key)}: ${valueText(value, 0)}`);
  const lines = text.join(',\n').split('\n');
  return [...comments.map((line) => `  /* ${line} */`), ...lines.map((line) => `  // ${line}`)].join('\n');
}

/** What belongs together stands together; the rest follows. */
const ORDER = [
  'schema_version',
  'name',
  'version',
  'description',
  'kind',
  'artifact',
  'inputs',
  'outputs',
  'row',
  'example',
  'preprocess',
  'postprocess',
  'batching',
  'golden',
];

const LINE_WIDTH = 100;

function valueText(value: unknown, indent: number): string {
  const line = JSON.stringify(value);
  if (typeof value !== 'object' || value === null) return line;
  // As `{ "a": 1, "b": [1, 2] }`.
  const spaced = Array.isArray(value)
    ? `[${value.map((item) => valueText(item, indent)).join(', ')}]`
    : `{ ${Object.entries(value)
        .map(([key, member]) => `${JSON.stringify(key)}: ${valueText(member, indent)}`)
        .join(', ')} }`;
  if (!spaced.includes('\n') && spaced.length + indent <= LINE_WIDTH) return spaced;
  const inner = ' '.repeat(indent + 2);
  const items = Array.isArray(value)
    ? value.map((item) => `${inner}${valueText(item, indent + 2)}`)
    : Object.entries(value)
        .filter(([, member]) => member !== undefined)
        .map(([key, member]) => `${inner}${JSON.stringify(key)}: ${valueText(member, indent + 2)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return `${open}\n${items.join(',\n')}\n${' '.repeat(indent)}${close}`;
}

/** Does the work for every item, at most `limit` at a time; in the order of the items. */
export async function inParallel<Item, Result>(
  items: Iterable<Item>,
  limit: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const entries = [...items].entries();
  const workSome = async () => {
    // One iterator for all: each takes the next one that nobody has.
    for (const [index, item] of entries) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: limit }, workSome));
  return results;
}

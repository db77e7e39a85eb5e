// The official JavaScript SDK against a server of ours: items, queries, a batch, and the change feed across a split.
//
// Usage: javascript.cjs ENDPOINT, with @azure/cosmos on NODE_PATH. Ends with "passed", or with what went wrong.
const assert = require("node:assert/strict");
const { ChangeFeedStartFrom, CosmosClient, PartitionKeyDefinitionVersion } = require("@azure/cosmos");

const key = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

async function refused(code, call) {
  await assert.rejects(call, (error) => error.code === code || assert.fail(`${error.code}: ${error.message}`));
}

async function main() {
  const client = new CosmosClient({ endpoint: process.argv[2], key });
  const { database } = await client.databases.create({ id: "javascript" });
  const partitionKey = { paths: ["/pk"], version: PartitionKeyDefinitionVersion.V2 };
  const { container } = await database.containers.create({ id: "items", partitionKey, throughput: 400 });

  for (let n = 0; n < 5; n++) await container.items.create({ id: `i${n}`, pk: `k${n}`, n });
  await refused(409, () => container.items.create({ id: "i0", pk: "k0" }));
  const { resource: item } = await container.item("i1", "k1").read();
  assert.equal(item.n, 1);

  // The change feed, two items a page.
  const feed = () => container.items.getChangeFeedIterator({ changeFeedStartFrom: ChangeFeedStartFrom.Beginning(), maxItemCount: 2 });
  const pages = [];
  let position;
  for await (const page of feed().getAsyncIterator()) {
    position = page.continuationToken;
    if (page.statusCode === 304) break;
    pages.push(page.result.map((item) => item.id));
  }
  assert.deepEqual(pages, [["i0", "i1"], ["i2", "i3"], ["i4"]]);

  // Writes on a condition.
  const ifMatch = { accessCondition: { type: "IfMatch", condition: item._etag } };
  await container.item("i1", "k1").replace({ ...item, n: 10 }, ifMatch);
  await refused(412, () => container.item("i1", "k1").replace({ ...item, n: 11 }, ifMatch));
  await container.items.upsert({ id: "i2", pk: "k2", n: 20 });
  await container.item("i3", "k3").delete();
  const { result } = await container.items.batch(
    [
      { operationType: "Create", resourceBody: { id: "b1", pk: "b" } },
      { operationType: "Upsert", resourceBody: { id: "b2", pk: "b" } },
      { operationType: "Delete", id: "b1" },
    ],
    "b",
  );
  assert.deepEqual(result.map((one) => one.statusCode), [201, 201, 204]);

  // Split, and go on from where the feed was.
  const { resource: offer } = await container.readOffer();
  offer.content.offerThroughput = 13000;
  await client.offer(offer.id).replace(offer);
  const ranges = await container.getFeedRanges();
  const changed = [];
  const resumed = container.items.getChangeFeedIterator({ changeFeedStartFrom: ChangeFeedStartFrom.Continuation(position) });
  let quiet = 0;
  for await (const page of resumed.getAsyncIterator()) {
    changed.push(...page.result.map((item) => item.id));
    quiet = page.statusCode === 304 ? quiet + 1 : 0;
    if (quiet > ranges.length) break;
  }
  assert.deepEqual(changed.sort(), ["b2", "i1", "i2"]);

  // Queries over both partitions, which the client puts together.
  const all = async (query) => (await container.items.query(query, { maxItemCount: 2 }).fetchAll()).resources;
  assert.deepEqual(await all("SELECT VALUE c.n FROM c WHERE IS_DEFINED(c.n) ORDER BY c.n DESC"), [20, 10, 4, 0]);
  assert.deepEqual(await all("SELECT VALUE c.n FROM c WHERE IS_DEFINED(c.n) ORDER BY c.n OFFSET 1 LIMIT 2"), [4, 10]);
  assert.deepEqual(await all("SELECT VALUE COUNT(1) FROM c"), [5]);
  assert.deepEqual(await all("SELECT VALUE AVG(c.n) FROM c"), [8.5]);
  assert.deepEqual((await all("SELECT DISTINCT VALUE IS_DEFINED(c.n) FROM c")).sort(), [false, true]);
  const grouped = await all("SELECT COUNT(1) AS count, IS_DEFINED(c.n) AS counted FROM c GROUP BY IS_DEFINED(c.n)");
  assert.deepEqual(grouped.map((group) => group.count).sort(), [1, 4]);

  await database.delete();
  console.log("passed");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

"""The official Python SDK against a server of ours: items, queries, a batch, and the change feed across a split.

Usage: python.py ENDPOINT. Ends with "passed", or with what went wrong.
"""
import sys

from azure.core import MatchConditions
from azure.cosmos import CosmosClient, PartitionKey, ThroughputProperties, exceptions

KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="


def equal(found, expected):
    assert found == expected, f"found {found}, expected {expected}"


def refused(status, call):
    try:
        call()
    except exceptions.CosmosHttpResponseError as error:
        equal(error.status_code, status)
    else:
        raise AssertionError(f"{status} was expected")


client = CosmosClient(sys.argv[1], KEY)
database = client.create_database("python")
container = database.create_container("items", PartitionKey(path="/pk"), offer_throughput=400)

for n in range(5):
    container.create_item({"id": f"i{n}", "pk": f"k{n}", "n": n})
refused(409, lambda: container.create_item({"id": "i0", "pk": "k0"}))
item = container.read_item("i1", "k1")
equal(item["n"], 1)

# Queries, in one partition key and over all of them.
two = [{"name": "@n", "value": 2}]
found = container.query_items("SELECT * FROM c WHERE c.n = @n", parameters=two, partition_key="k2")
equal([item["id"] for item in found], ["i2"])
ordered = "SELECT VALUE c.n FROM c ORDER BY c.n DESC"
equal(list(container.query_items(ordered, enable_cross_partition_query=True, max_item_count=2)), [4, 3, 2, 1, 0])
equal(list(container.query_items("SELECT VALUE COUNT(1) FROM c", enable_cross_partition_query=True)), [5])

# The change feed, two items a page.
feed = container.query_items_change_feed(start_time="Beginning", max_item_count=2).by_page()
pages = [[item["id"] for item in page] for page in feed]
equal(pages, [["i0", "i1"], ["i2", "i3"], ["i4"]])
position = container.client_connection.last_response_headers["etag"]

# Writes on a condition.
item["n"] = 10
condition = {"etag": item["_etag"], "match_condition": MatchConditions.IfNotModified}
container.replace_item("i1", item, **condition)
refused(412, lambda: container.replace_item("i1", item, **condition))
container.upsert_item({"id": "i2", "pk": "k2", "n": 20})
container.delete_item("i3", "k3")
refused(404, lambda: container.read_item("i3", "k3"))
operations = [("create", ({"id": "b1", "pk": "b"},)), ("upsert", ({"id": "b2", "pk": "b"},)), ("delete", ("b1",))]
done = container.execute_item_batch(operations, partition_key="b")
equal([result["statusCode"] for result in done], [201, 201, 204])

# What was written since, resumed after the partition was split.
container.replace_throughput(ThroughputProperties(offer_throughput=13000))
equal(len(list(container.read_feed_ranges(force_refresh=True))), 2)
changed = [item["id"] for item in container.query_items_change_feed(continuation=position)]
equal(sorted(changed), ["b2", "i1", "i2"])
equal(list(container.query_items(ordered, enable_cross_partition_query=True)), [20, 10, 4, 0])

client.delete_database("python")
print("passed")

"""Reads a table of the lake with DuckDB and prints what it found, as JSON.

Standard input: one file a line, as `dabi lake files` prints them. The events
must be the same whether they are read from that list or from the glob given as
the first argument, deduplicated by position.
"""

import json
import sys

import duckdb

files = [line.strip() for line in sys.stdin if line.strip()]
listed = duckdb.read_parquet(files, union_by_name=True, hive_partitioning=True)
globbed = duckdb.read_parquet(sys.argv[1], union_by_name=True, hive_partitioning=True)
position = "_topic, _partition, _offset"


def one(relation, expressions):
    return relation.aggregate(expressions).fetchall()[0]


events, distinct = one(listed, f"count(*), count(distinct ({position}))")
ops = dict(listed.aggregate("_op, count(*)").fetchall())
glob_events, glob_distinct = one(globbed, f"count(*), count(distinct ({position}))")
print(
    json.dumps(
        {
            "events": events,
            "distinct": distinct,
            "ops": ops,
            "dates": sorted(str(row[0]) for row in listed.select("date").distinct().fetchall()),
            "partitions": one(listed, "count(distinct _partition)")[0],
            "glob_events": glob_events,
            "glob_distinct": glob_distinct,
        }
    )
)

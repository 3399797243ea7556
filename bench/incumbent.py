"""The incumbent's way: a Python consumer that writes change events to Parquet.

Written as a competent data engineer would: records in batches, parsed into
column lists, row groups of 100,000 through pyarrow. It writes the row, the
operation, the commit time and the LSN, and nothing else: no ClickHouse, no
transform, no exactly-once. It prints one line of JSON with events per second
and the CPU time of the process per event, both without imports.
"""

import argparse
import base64
import json
import pathlib
import resource
import time

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

BATCH_RECORDS = 10_000
FILE_ROWS = 100_000
PARSERS = {"json": json.loads, "orjson": orjson.loads}
SCHEMA = pa.schema(
    [
        ("order_id", pa.int64()),
        ("line_no", pa.int16()),
        ("product_id", pa.int32()),
        ("warehouse_id", pa.int32()),
        ("quantity", pa.int32()),
        ("unit_price", pa.decimal128(10, 2)),
        ("gift", pa.bool_()),
        ("sku", pa.string()),
        ("title", pa.string()),
        ("note", pa.string()),
        ("placed_at", pa.string()),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("_op", pa.string()),
        ("_ts", pa.timestamp("us", "UTC")),
        ("_lsn", pa.int64()),
    ]
)
ROW_COLUMNS = SCHEMA.names[:12]
UNIT_PRICE = ROW_COLUMNS.index("unit_price")


def unscaled(text):
    return int.from_bytes(base64.b64decode(text), "big", signed=True)


def append(envelope, columns):
    """Appends the row of a change event (the old row of a delete)."""
    row = envelope["after"] or envelope["before"]
    source = envelope["source"]
    for column, name in zip(columns, ROW_COLUMNS):
        column.append(row[name])
    columns[UNIT_PRICE][-1] = unscaled(row["unit_price"])
    columns[-3].append(envelope["op"])
    columns[-2].append(source["ts_us"])
    columns[-1].append(source["lsn"])


def array(values, field):
    if not pa.types.is_decimal(field.type):
        return pa.array(values, field.type)
    # Integers hold the unscaled value: moved by the scale, without a float.
    whole = pa.array(values, pa.int64()).cast(pa.decimal128(19, 0))
    return pa.compute.divide(whole, pa.scalar(100, pa.decimal128(3, 0))).cast(field.type)


def write(columns, folder, number):
    arrays = [array(values, field) for values, field in zip(columns, SCHEMA)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    pq.write_table(table, folder / f"{number:06}.parquet", compression="zstd")


def assign(consumer, topic):
    """Starts every partition at its beginning; gives where each ends now."""
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    ends = {}
    for partition in partitions:
        _, ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    return ends


def consume(consumer, topic, loads, folder, events_max):
    ends = assign(consumer, topic)
    columns = [[] for _ in SCHEMA]
    events = files = 0
    while ends and (events_max is None or events < events_max):
        for message in consumer.consume(BATCH_RECORDS, timeout=1.0):
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaException(message.error())
            if message.offset() + 1 >= ends.get(message.partition(), 0):
                ends.pop(message.partition(), None)
            value = message.value()
            if value is None:
                continue
            envelope = loads(value)
            append(envelope["payload"] if "payload" in envelope else envelope, columns)
            events += 1
        if len(columns[0]) >= FILE_ROWS:
            write(columns, folder, files)
            files += 1
            columns = [[] for _ in SCHEMA]
    if columns[0]:
        write(columns, folder, files)
    return events


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--parser", choices=PARSERS, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--events", type=int, help="stop after about this many")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    started, cpu_before = time.monotonic(), cpu_seconds()
    consumer = Consumer(
        {
            "bootstrap.servers": arguments.brokers,
            "group.id": "incumbent",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            # The default of a second leaves the process idle whenever the
            # prefetch queue was full.
            "fetch.queue.backoff.ms": 5,
        }
    )
    loads = PARSERS[arguments.parser]
    events = consume(consumer, arguments.topic, loads, arguments.out, arguments.events)
    consumer.close()
    seconds, cpu = time.monotonic() - started, cpu_seconds() - cpu_before
    answer = {
        "events": events,
        "seconds": seconds,
        "events_per_s": events / seconds,
        "cpu_us_per_event": cpu / events * 1e6,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

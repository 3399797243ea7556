"""Compares views of a star with SQL over the source's own tables, both ways, and
prints what differs, as JSON.

Arguments: a folder with the source's tables as PostgreSQL printed them
(`<table>.csv.gz`, NULL as \\N), a folder with the star (`<view>.parquet`), and a
file of SQL that makes a view `expected_<view>` for each. The tables' columns are
text there: what they are is for the SQL to say.
"""

import json
import pathlib
import sys

import duckdb

source, star, formulation = (pathlib.Path(argument) for argument in sys.argv[1:])
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
for file in source.glob("*.csv.gz"):
    table = file.name.removesuffix(".csv.gz")
    db.execute(
        f"""CREATE TABLE {table} AS FROM read_csv('{file}', header = true, all_varchar = true,
            nullstr = '\\N', allow_quoted_nulls = false, quote = '"', escape = '"', delim = ',',
            max_line_size = 100000000)"""
    )
db.execute(formulation.read_text())
verdicts = {}
for file in sorted(star.glob("*.parquet")):
    db.execute(f"CREATE TABLE got AS FROM read_parquet('{file}')")
    columns = [column for column, *_ in db.execute("DESCRIBE got").fetchall()]
    known = [column for column, *_ in db.execute(f"DESCRIBE expected_{file.stem}").fetchall()]
    assert sorted(columns) == sorted(known), f"{file.stem}: {columns} and {known}"
    expected = f"SELECT {', '.join(columns)} FROM expected_{file.stem}"

    def differences(one, other):
        # ALL: a row that is there twice differs from one that is there once.
        rows = db.execute(f"{one} EXCEPT ALL {other} ORDER BY ALL LIMIT 5").fetchall()
        return [str(row)[:500] for row in rows]

    verdicts[file.stem] = {
        "rows": db.execute("SELECT count(*) FROM got").fetchone()[0],
        "expected": db.execute(f"SELECT count(*) FROM expected_{file.stem}").fetchone()[0],
        "star_alone": differences("FROM got", expected),
        "source_alone": differences(expected, "FROM got"),
    }
    db.execute("DROP TABLE got")
print(json.dumps(verdicts))

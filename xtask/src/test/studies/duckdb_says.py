# What DuckDB says of an export, by the views' SQL of the recording that it was made of, as it is.
# Arguments: the recording, the export's folder. Prints {"engine": …, "studies": {study: rows}}.
import json
import sqlite3
import sys

import duckdb

recording, folder = sys.argv[1:]
tables = ("notifications", "verdicts")
store = sqlite3.connect(f"file:{recording}?mode=ro", uri=True)
views = store.execute(
    "SELECT name, sql FROM sqlite_schema WHERE type = 'view' AND name NOT IN (?, ?)", tables
).fetchall()
engine = duckdb.connect()
for table in tables:
    # Hosts and dates are words, whatever they look like.
    files = f"{folder}/{table}/*/*/*.parquet"
    if engine.execute("SELECT count(*) FROM glob(?)", [files]).fetchone()[0]:
        engine.execute(
            f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{files}', hive_partitioning = true, "
            "hive_types = {'host': VARCHAR, 'date': VARCHAR})"
        )
    else:
        # A table without rows has no file.
        names = [column[0] for column in store.execute(f"SELECT * FROM {table} LIMIT 0").description]
        engine.execute(f"CREATE VIEW {table} AS SELECT {', '.join(f'NULL AS {name}' for name in names)} LIMIT 0")
for name, sql in views:
    engine.execute(sql)
said = {}
for name, _ in views:
    if name.endswith("_samples"):
        continue
    rows = engine.execute(f"SELECT * FROM {name}")
    names = [column[0] for column in rows.description]
    said[name] = [
        {key: int(value) if not isinstance(value, (str, type(None))) else value for key, value in zip(names, row)}
        for row in rows.fetchall()
    ]
print(json.dumps({"engine": f"DuckDB {duckdb.__version__}", "studies": said}))

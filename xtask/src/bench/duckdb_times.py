# Runs one study over an export, by the views' SQL of the recording. Arguments: the recording, the export's
# folder, the study.
import sqlite3
import sys

import duckdb

recording, folder, study = sys.argv[1:]
views = sqlite3.connect(f"file:{recording}?mode=ro", uri=True).execute(
    "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name IN (?, ?) ORDER BY rowid",
    (f"{study}_samples", study),
).fetchall()
engine = duckdb.connect()
engine.execute(
    f"CREATE VIEW notifications AS SELECT * FROM read_parquet('{folder}/notifications/*/*/*.parquet', "
    "hive_partitioning = true, hive_types = {'host': VARCHAR, 'date': VARCHAR})"
)
for (sql,) in views:
    engine.execute(sql)
engine.execute(f"SELECT * FROM {study}").fetchall()

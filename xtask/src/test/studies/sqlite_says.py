# What the views of a recording say, read by whatever SQLite Python has. Arguments: the recording, and
# a folder that is not looked at. Prints {"engine": …, "studies": {study: rows}}.
import json
import sqlite3
import sys

store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
views = [name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")]
said = {}
for name in views:
    if f"{name}_samples" in views:
        rows = store.execute(f"SELECT * FROM {name}")
        names = [column[0] for column in rows.description]
        said[name] = [dict(zip(names, row)) for row in rows.fetchall()]
print(json.dumps({"engine": f"SQLite {sqlite3.sqlite_version}", "studies": said}))

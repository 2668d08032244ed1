# What a Spark cluster, a master and two workers on this host, says of an export, by the views' SQL of the
# recording that it was made of. Arguments: the recording, the export's folder. Prints
# {"engine": …, "studies": {study: rows}}.
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pyspark

recording, folder = sys.argv[1:]
home = os.path.dirname(pyspark.__file__)
environment = dict(os.environ, SPARK_HOME=home, SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
os.environ.update(environment)
PORT, UI = 17077, 17080


def start(*words):
    command = [f"{home}/bin/spark-class", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


package = "org.apache.spark.deploy"
master = f"spark://127.0.0.1:{PORT}"
cluster = [start(f"{package}.master.Master", "--host", "127.0.0.1", "--port", str(PORT), "--webui-port", str(UI))]
try:
    for number in range(2):
        port = str(UI + 1 + number)
        words = ["--host", "127.0.0.1", "--webui-port", port, "-c", "1", "-m", "900m", master]
        cluster.append(start(f"{package}.worker.Worker", *words))
    for _ in range(240):
        try:
            status = json.load(urllib.request.urlopen(f"http://127.0.0.1:{UI}/json/", timeout=5))
            if sum(worker["state"] == "ALIVE" for worker in status["workers"]) == 2:
                break
        except OSError:
            pass
        time.sleep(0.5)
    else:
        sys.exit("the workers did not come up within two minutes")

    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master(master)
        .appName("notify-trace")
        .config("spark.executor.memory", "600m")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        # Hosts and dates are words, whatever they look like.
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    store = sqlite3.connect(f"file:{recording}?mode=ro", uri=True)
    tables = ("notifications", "verdicts")
    views = store.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'view' AND name NOT IN (?, ?)", tables
    ).fetchall()
    for table in tables:
        if os.path.isdir(f"{folder}/{table}"):
            spark.read.parquet(f"{folder}/{table}").createOrReplaceTempView(table)
        else:
            # A table without rows has no file.
            names = [column[0] for column in store.execute(f"SELECT * FROM {table} LIMIT 0").description]
            empty = ", ".join(f"CAST(NULL AS BIGINT) AS {name}" for name in names)
            spark.sql(f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT {empty} LIMIT 0")
    for name, sql in views:
        spark.sql(sql.replace("CREATE VIEW", "CREATE OR REPLACE TEMP VIEW", 1))
    said = {}
    for name, _ in views:
        if name.endswith("_samples"):
            continue
        rows = [row.asDict() for row in spark.table(name).collect()]
        said[name] = rows
    executors = spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1
    engine = f"Spark {spark.version} ({executors} executors on 2 workers)"
    spark.stop()
finally:
    for process in cluster:
        process.terminate()
    for process in cluster:
        process.wait()
print(json.dumps({"engine": engine, "studies": said}))

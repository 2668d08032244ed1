"""Prometheus scrapes metrics, takes the rules, and answers what the dashboard asks.

Usage: asks.py FOLDER-OF-PROMETHEUS EXAMPLE RECORDING DIST FOLDER
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

programs, example, recording, dist, folder = map(os.path.abspath, sys.argv[1:])
DEADLINE_S = 60


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def until(what, look):
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            found = look()
            if found:
                return found
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(f"{what}: not so after {DEADLINE_S} s")
        time.sleep(0.3)


def questions(dashboard):
    """What a dashboard asks: title, expression."""
    fill = {"$__rate_interval": "10s", "$__range": "60s", "$instance": ".*"}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in fill.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


rules = os.path.join(dist, "prometheus/notify-trace.rules.yml")
config = os.path.join(folder, "prometheus.yml")

metrics = subprocess.Popen(
    [example, recording, "127.0.0.1:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
prometheus = None
try:
    target = metrics.stdout.readline().strip()
    with open(config, "w", encoding="utf-8") as out:
        json.dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [rules],
                "scrape_configs": [
                    {
                        "job_name": "notify-trace",
                        "scrape_protocols": ["PrometheusText0.0.4"],
                        "static_configs": [{"targets": [target]}],
                    },
                    # Asks for native histograms.
                    {"job_name": "native", "static_configs": [{"targets": [target]}]},
                ],
            },
            out,
        )
    port = free_port()
    log = open(os.path.join(folder, "prometheus.log"), "w", encoding="utf-8")
    prometheus = subprocess.Popen(
        [
            os.path.join(programs, "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={os.path.join(folder, 'data')}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=native-histograms",
        ],
        stdout=log,
        stderr=log,
    )
    api = f"http://127.0.0.1:{port}/api/v1"
    version = until("Prometheus", lambda: get(f"{api}/status/buildinfo")["data"]["version"])

    def ask(expression):
        answer = get(f"{api}/query?" + urllib.parse.urlencode({"query": expression}))
        if answer["status"] != "success":
            sys.exit(f"{expression}: {answer}")
        return answer["data"]["result"]

    until("a scrape", lambda: ask("up == 1"))
    with open(os.path.join(dist, "grafana/notify-trace.json"), encoding="utf-8") as file:
        asked = list(questions(json.load(file)))
    for title, expression in asked:
        until(f"data for {title}: {expression}", lambda expression=expression: ask(expression))
    # All of the recording is played within 10 s.
    time.sleep(12)
    groups = until(
        "the rules to be evaluated",
        lambda: [
            group
            for group in get(f"{api}/rules")["data"]["groups"]
            if all(rule["health"] != "unknown" for rule in group["rules"])
        ],
    )
    all_rules = [rule for group in groups for rule in group["rules"]]
    for rule in all_rules:
        if rule["health"] != "ok":
            sys.exit(f"rule {rule['name']}: {rule}")
    written = len(re.findall(r"- alert:", open(rules, encoding="utf-8").read()))
    if len(all_rules) != written:
        sys.exit(f"{len(all_rules)} rules of {written}")
    firing = sorted({rule["name"] for rule in all_rules if rule["state"] != "inactive"})
    # By what is in the recording, each of them once.
    for name in ("ServiceNeverReady", "WatchdogLate", "NotificationsUndelivered"):
        if name not in firing:
            sys.exit(f"{name} is not raised: {firing}")
    # The same values by both kinds of histograms, each series.
    def values(expression):
        labels = lambda it: tuple(sorted((k, v) for k, v in it["metric"].items() if k not in ("job", "__name__")))
        return {labels(it): float(it["value"][1]) for it in ask(expression)}

    series = 0
    for name in ("startup", "reload", "stop", "watchdog_margin", "delivery", "hop", "blocked"):
        name = f"notify_trace_{name}_seconds"
        classic = values(f'{name}_count{{job="notify-trace"}}')
        native = values(f'histogram_count({name}{{job="native"}})')
        if classic != native:
            sys.exit(f"{name}: {classic} and, natively, {native}")
        series += len(native)
        # A classic bucket says between which bounds a quantile is; a native one where.
        by = "sum by (instance, unit, user, container, manager, class, le)"
        between = values(f'histogram_quantile(0.5, {by} ({name}_bucket{{job="notify-trace"}}))')
        exactly = values(f'histogram_quantile(0.5, {name}{{job="native"}})')
        for labels, value in exactly.items():
            if not between[labels] / 11 - 0.11 <= value <= between[labels] * 11 + 0.11:
                sys.exit(f"{name} {labels}: {value}, not about {between[labels]}")
    print(
        f"Prometheus {version}: {len(asked)} questions of the dashboard have data, "
        f"{len(all_rules)} rules are evaluated, of them raised: {', '.join(firing) or 'none'}; "
        f"{series} native histograms count what the classic ones do"
    )
finally:
    if prometheus:
        prometheus.terminate()
        prometheus.wait()
    # Ends with its input, and removes what it made.
    metrics.stdin.close()
    metrics.wait()

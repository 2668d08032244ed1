"""A Collector receives, over TLS with certificates on both sides, what an agent would have recorded.

Usage: asks.py COLLECTOR EXAMPLE AGENT RECORDING FOLDER
"""

import collections
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time

collector, example, agent, recording, folder = map(os.path.abspath, sys.argv[1:])
DEADLINE_S = 60


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def certificate(name, *extensions):
    """A key and a certificate that ours signs."""
    key, request = f"{name}.key", f"{name}.csr"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", key]
    run("openssl", "req", *new, "-subj", f"/CN={name}", "-out", request)
    with open(os.path.join(folder, "extensions"), "w", encoding="utf-8") as file:
        file.write("\n".join(extensions))
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    run("openssl", "x509", "-req", "-in", request, *sign, "-extfile", "extensions", "-out", f"{name}.pem")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until_listening(port):
    end = time.monotonic() + DEADLINE_S
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > end:
            sys.exit("the Collector does not listen")
        time.sleep(0.1)


new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
run("openssl", "req", "-x509", *new, "-keyout", "ca.key", "-subj", "/CN=ca", "-days", "2", "-out", "ca.pem")
certificate("collector", "subjectAltName=IP:127.0.0.1", "extendedKeyUsage=serverAuth")
certificate("agent", "extendedKeyUsage=clientAuth")

port = free_port()
received = os.path.join(folder, "received")
pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
config = {
    "receivers": {
        "otlp": {
            "protocols": {
                "http": {
                    "endpoint": f"127.0.0.1:{port}",
                    "tls": {
                        "cert_file": os.path.join(folder, "collector.pem"),
                        "key_file": os.path.join(folder, "collector.key"),
                        "client_ca_file": os.path.join(folder, "ca.pem"),
                    },
                }
            }
        }
    },
    "exporters": {
        "debug": {"verbosity": "detailed", "use_internal_logger": False, "output_paths": [received]}
    },
    "service": {
        "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
        "pipelines": {"logs": pipeline, "traces": pipeline, "metrics": pipeline},
    },
}
with open(os.path.join(folder, "collector.yaml"), "w", encoding="utf-8") as file:
    json.dump(config, file)
version = run(collector, "--version").strip()
log = open(os.path.join(folder, "collector.log"), "wb")
process = subprocess.Popen([collector, "--config", "collector.yaml"], cwd=folder, stderr=log, stdout=log)
try:
    until_listening(port)
    address = f"https://127.0.0.1:{port}"
    # Whoever doesn't know whom to trust sends nothing, and whoever isn't known doesn't either.
    stranger = subprocess.run([example, recording, address], capture_output=True, text=True, cwd=folder)
    if stranger.returncode == 0 or "ertificate" not in stranger.stderr or "taken 0" not in stranger.stdout:
        sys.exit(f"it sends to somebody it does not trust: {stranger}")
    plain = subprocess.run([example, recording, address.replace("https", "http")], capture_output=True, text=True)
    if plain.returncode == 0 or "taken 0" not in plain.stdout:
        sys.exit(f"it sends in clear: {plain}")
    said = run(example, recording, address, folder)
finally:
    process.terminate()
    process.wait()

counts = {name: int(count) for name, count in re.findall(r"^(\w+) (\d+)", said, re.MULTILINE)}
text = open(received, encoding="utf-8", errors="surrogateescape").read()
names = collections.Counter(re.findall(r"^EventName: (.*)$", text, re.MULTILINE))
spans = re.findall(r"^    Name           : (.*)$", text, re.MULTILINE)
metrics = set(re.findall(r"^     -> Name: (.*)$", text, re.MULTILINE))
lines = [json.loads(line) for line in run(agent, "show", recording, "-o", "json").splitlines()]
events = collections.Counter(line["type"] for line in lines)
with sqlite3.connect(recording) as connection:
    columns = "count(startup_ns), count(reload_ns), count(stop_ns)"
    times = connection.execute(f"SELECT {columns} FROM notification").fetchone()
phases = [sum(1 for name in spans if name.startswith(kind)) for kind in ("start ", "reload ", "stop ")]
checks = [
    ("events taken", counts["taken"], counts["events"]),
    ("notifications", names["systemd.notify"], events["send"]),
    ("updates", names["systemd.notify.update"], events["update"]),
    ("failed connects", names["systemd.notify.connect_failed"], events["connect_failed"]),
    ("log records", sum(names.values()), counts["logs"]),
    ("spans", len(spans), counts["spans"]),
    ("spans of each kind", phases, list(times)),
]
for what, got, wanted in checks:
    if got != wanted:
        sys.exit(f"{what}: {got}, not {wanted}; {said}{names}")
if re.search(r"refused [1-9]", said):
    sys.exit(f"something was refused: {said}")
for wanted in ("notify_trace_notifications", "notify_trace_delivery_seconds", "process_threads"):
    if wanted not in metrics:
        sys.exit(f"no metric {wanted} in {sorted(metrics)}")
invocations = len(re.findall(r"^     -> systemd.invocation_id: Str\([0-9a-f]{32}\)$", text, re.MULTILINE))
print(
    f"{version} over TLS: {names['systemd.notify']} notifications, {names['systemd.notify.verdict']} verdicts, "
    f"{len(spans)} spans ({invocations} of known invocations), {len(metrics)} metrics: all that is recorded"
)

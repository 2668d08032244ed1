#!/usr/bin/env python3
"""Prints a made-up recording of ten minutes, in which much goes well and something of everything
does not: what docs/images/top.png shows. The names are nobody's."""
import json
import random
from datetime import datetime, timedelta, timezone

S = 10**9
BEGIN, END = 1_000 * S, 1_600 * S
MIDNIGHT = datetime(2026, 11, 24, 11, 43, 20, tzinfo=timezone.utc)
random.seed(7)
events = []


def add(seconds, event):
    ns = BEGIN + int(seconds * S)
    event["monotonic_ns"] = ns
    event["time"] = (MIDNIGHT + timedelta(microseconds=ns // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    events.append((ns, len(events), event))
    return event


def process(comm, pid, attribution):
    return dict(pid=pid, tid=pid, comm=comm, uid=0, gid=0, parent_pid=1, start_boottime_ns=pid,
                attribution=attribution)


def unit(name):
    return {"unit": {"name": name}}


def send(at, comm, pid, where, payload, to="systemd", median_us=450, state="delivered", errno=None,
         reader=("systemd", 1), present=True):
    where = unit(where) if isinstance(where, str) else where
    delivery, timing = {"state": state}, {}
    event = add(at, dict(type="send", sender=process(comm, pid, where), fds=0, delivery=delivery,
                         timing=timing, length_bytes=len(payload.encode()), payload=payload))
    event["class"] = to
    event["lines"] = [dict(zip(("key", "value"), line.split("=", 1))) for line in payload.split("\n")]
    event["destination"] = {"address": "/run/systemd/notify", "connected": False}
    event["receiver"] = {"inode": 500 + len(to), "address": "/run/systemd/notify", "queue_length": 0}
    event["result"] = {"failed": errno} if errno else {"sent_bytes": len(payload.encode())}
    ns = event["monotonic_ns"]
    timing.update(entry_ns=ns, queued_ns=ns + 9_000, returned_ns=ns + 20_000)
    if state == "delivered":
        timing["dequeued_ns"] = ns + 9_000 + int(median_us * 1_000 * random.lognormvariate(0, 0.5))
        delivery.update(reader=process(*reader, unit("init.scope")), sender_present=present,
                        credentials={"pid": pid, "uid": 0, "gid": 0})


def manager(at, name, active="active", sub="running", began=None, **more):
    event = dict(type="unit", unit=name, active_state=active, sub_state=sub, service_type="notify",
                 notify_access="main", timeout_start_usec=90_000_000, **more)
    if began is not None:
        event["inactive_exit_ns"] = BEGIN + began * S
    add(at, event)


def up(name, comm, pid, at, payload="READY=1", watchdog_s=None, pings_s=None, until=600, **more):
    send(at, comm, pid, name, payload, **more)
    facts = {"watchdog_usec": watchdog_s * 1_000_000} if watchdog_s else {}
    manager(at + .05, name, began=int(at) - 1, main_pid=pid, **facts)
    at += pings_s and random.uniform(.5, 1) * pings_s or 600
    while at < until:
        send(at, comm, pid, name, "WATCHDOG=1")
        at += pings_s * random.uniform(.93, 1.07)


PROCESSING = "READY=1\nSTATUS=Processing requests..."
up("systemd-journald.service", "systemd-journal", 218, 2, PROCESSING, 180, 85)
up("systemd-udevd.service", "systemd-udevd", 231, 2.2, PROCESSING, 180, 88)
up("systemd-logind.service", "systemd-logind", 267, 3, PROCESSING, 180, 80)
up("systemd-networkd.service", "systemd-network", 270, 3.1, PROCESSING, 180, 86)
up("systemd-resolved.service", "systemd-resolve", 272, 3.2, PROCESSING, 180, 83)
up("dbus.service", "dbus-daemon", 266, 4)
up("ssh.service", "sshd", 290, 4.5)
up("containerd.service", "containerd", 380, 6)
up("docker.service", "dockerd", 400, 8)
up("metrics-agent.service", "metrics", 655, 11, "READY=1", 30, 14)
up("postgresql@16-main.service", "postgres", 510, 9)
for i in range(82):
    status = f"STATUS=checkpoint {i}: wrote {random.randint(10, 900)} buffers"
    send(20 + i * 7, "postgres", 510, "postgresql@16-main.service", status)
up("worker@3.service", "worker", 640, 11, "READY=1", 5)
for i in range(2939):
    send(12 + i * .2, "worker", 640, "worker@3.service", f"STATUS={i * 37} jobs done\nWATCHDOG=1",
         median_us=90)
# Pings that are only just in time, and some that are late.
up("api-gateway.service", "api-gateway", 611, 10, "READY=1\nSTATUS=listening on :8443", 10, 8.6)
up("billing.service", "java", 700, 12, "READY=1\nSTATUS=Started in 9.8 s", 20, 10, until=572)
# A reload, a start and a stop that go on.
up("nginx.service", "nginx", 720, 13)
send(596, "nginx", 720, "nginx.service",
     f"RELOADING=1\nMONOTONIC_USEC={(BEGIN + 596 * S) // 1000}\nSTATUS=Reading the configuration")
manager(596.1, "nginx.service", "reloading", "reload", main_pid=720)
manager(540, "search-index.service", "activating", "start", began=535, main_pid=801)
for i in range(12):
    send(541 + i * 4.9, "index", 801, "search-index.service",
         f"STATUS=Replaying the log: {i * 8} %\nEXTEND_TIMEOUT_USEC=30000000")
up("cache.service", "redis-server", 1400, 15, "READY=1\nSTATUS=Ready to accept connections")
send(597.5, "redis-server", 1400, "cache.service", "STOPPING=1\nSTATUS=Saving the last snapshot")
# A start whose READY=1 came from a helper that was gone too soon.
manager(400, "backup.service", "activating", "start", began=399, main_pid=820)
send(402, "backup-helper", 822, "backup.service", "READY=1\nSTATUS=\x1b[2JVault mounted", present=False)
manager(490, "backup.service", "failed", "failed", result="timeout", main_pid=820)
# Nobody listens; somebody doesn't read.
for i in range(6):
    send(300 + i * 45, "legacy-shim", 850, "legacy-shim.service", "STATUS=still here", to="other",
         state="failed", errno={"errno": 111, "name": "ECONNREFUSED"})
send(300, "import", 1300, "import.service", "READY=1")
send(598, "import", 1300, "import.service", "STATUS=42 % of 1.2M rows", state="queued")
# Containers: what one says reaches the manager through conmon, what the other says ends at runc.
shop = dict(container=dict(id="3f2a" * 16, runtime="podman", name="shop-web"), **unit("shop-web.service"))
conmon = dict(container=dict(shop["container"], is_monitor=True), **unit("shop-web.service"))
for i in range(54):
    text = "READY=1" if i == 0 else f"STATUS={random.randint(1, 60)} requests in flight"
    send(30 + i * 10.5, "gunicorn", 901, shop, text, to="conmon", median_us=5_000, reader=("conmon", 899))
send(30.02, "conmon", 899, conmon, "MAINPID=899\nREADY=1")
ledger = {"unit": {"name": "cri-containerd-ab.scope"},
          "container": {"id": "ab" * 32, "runtime": "containerd", "name": "ledger"},
          "pod": {"uid": "7", "name": "ledger-7d9f", "namespace": "pay"}}
send(35, "ledger", 930, ledger, "READY=1", to="runc", reader=("runc", 928))
# A user's manager and a service of it.
mail = {"unit": {"name": "user@1000.service"}, "user": 1000, "user_unit": {"name": "mail.service"}}
for i in range(10):
    text = "READY=1\nSTATUS=Idle" if i == 0 else f"STATUS=Fetched {i * 13} messages"
    send(50 + i * 58, "mbsync", 1200, mail, text, to="systemd-user", reader=("systemd", 1100))
send(45, "systemd", 1100, dict(mail, user_unit={"name": "init.scope"}), "READY=1")

session = dict(type="session", format_version=1, tool_version="0.1.0", command_line=[], host="web-3",
               kernel="6.12.43+deb13-amd64", machine="x86_64", cpus=4, ring_bytes=4 << 20, rules=[],
               plan=dict(name="full", reason="kprobes and trampolines work", programs={}))
number = 0
add(0, session)
add(600, dict(type="summary", notifications=0, delivered=0, failed=0, open=0, connect_failed=0,
              records_attempted=0, records_received=0, losses={}))
events.sort(key=lambda it: (it[0], it[2]["type"] != "session", it[1]))
for _, _, event in events:
    if event["type"] == "send":
        number += 1
        event["id"] = number
    print(json.dumps(event))

-- A recording of notify-trace, version 1 (PRAGMA user_version). docs/recording.md explains it.
-- Times: *_us are microseconds since 1970-01-01 00:00 UTC, *_ns CLOCK_MONOTONIC of the traced host
-- where they are moments, else nanoseconds.

-- One run of an agent.
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    boot_id TEXT,
    kernel TEXT NOT NULL,
    tool_version TEXT NOT NULL,
    -- Version of the system's manager, where it was asked.
    manager_version TEXT,
    began_us INTEGER NOT NULL,
    began_ns INTEGER NOT NULL,
    -- The session event, a line of JSON.
    event TEXT NOT NULL,
    -- Events that were stored after it; those of them that a limit of age or size has deleted since.
    stored INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    -- Events that could not be stored in time, and are lost.
    dropped INTEGER NOT NULL DEFAULT 0,
    -- The trace came to its end: a summary is the last event.
    is_complete INTEGER NOT NULL DEFAULT 0,
    -- Version of what drew flow, notification and verdict from the events.
    derived_by INTEGER NOT NULL,
    -- What follows of there being no more events is drawn, too.
    is_concluded INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Its events in order: the recording itself. All that follows is drawn from them.
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES session (id),
    events INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    -- No notification in it has a lower id, and none is of a lower flow; null: it has none.
    first_notification INTEGER,
    first_flow INTEGER,
    -- JSON Lines, compressed with zstd, and how long they are without that.
    bytes INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE INDEX block_of_session ON block (session, id);

-- Who sends to whom. The id is session << 40, plus a number; the same may stand there several times.
CREATE TABLE flow (
    id INTEGER PRIMARY KEY,
    unit TEXT,
    -- The user whose manager the unit is of; null: the system's.
    uid INTEGER,
    container TEXT,
    runtime TEXT,
    comm TEXT,
    class TEXT NOT NULL,
    manager TEXT NOT NULL
) STRICT;

-- A datagram. The id is session << 40, plus its number in the session.
CREATE TABLE notification (
    id INTEGER PRIMARY KEY,
    flow INTEGER NOT NULL,
    pid INTEGER,
    at_us INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    -- 0 delivered, 1 failed, 2 sending, 3 queued, 4 filtered, 5 destroyed, 6 unknown
    state INTEGER NOT NULL,
    errno INTEGER,
    length_bytes INTEGER NOT NULL,
    -- Bits: 1 READY, 2 RELOADING, 4 STOPPING, 8 WATCHDOG, 16 STATUS, 32 EXTEND_TIMEOUT_USEC,
    -- 64 MAINPID, 128 FDSTORE, 256 BARRIER, 512 ERRNO, 1024 EXIT_STATUS
    says INTEGER NOT NULL,
    delivery_ns INTEGER,
    blocked_ns INTEGER,
    startup_ns INTEGER,
    startup_process_ns INTEGER,
    reload_ns INTEGER,
    stop_ns INTEGER,
    watchdog_ns INTEGER,
    watchdog_jitter_ns INTEGER,
    watchdog_margin_ns INTEGER,
    extend_ns INTEGER,
    extend_margin_ns INTEGER,
    status_ns INTEGER,
    hop_ns INTEGER,
    -- The notification because of which its sender sent this one, and the class of that one's socket.
    told INTEGER,
    told_class TEXT
) STRICT;

-- What is rare is found without reading all.
CREATE INDEX notification_blocked ON notification (blocked_ns) WHERE blocked_ns IS NOT NULL;
CREATE INDEX notification_startup ON notification (startup_ns) WHERE startup_ns IS NOT NULL;
CREATE INDEX notification_startup_process ON notification (startup_process_ns)
WHERE startup_process_ns IS NOT NULL;
CREATE INDEX notification_reload ON notification (reload_ns) WHERE reload_ns IS NOT NULL;
CREATE INDEX notification_stop ON notification (stop_ns) WHERE stop_ns IS NOT NULL;
CREATE INDEX notification_extend ON notification (extend_ns) WHERE extend_ns IS NOT NULL;
CREATE INDEX notification_extend_margin ON notification (extend_margin_ns)
WHERE extend_margin_ns IS NOT NULL;
CREATE INDEX notification_hop ON notification (hop_ns) WHERE hop_ns IS NOT NULL;

-- Why something was lost (docs/explain.md): a row for a verdict and its repetitions in the same hour. The
-- id is session << 40, plus a number in the session.
CREATE TABLE verdict (
    id INTEGER PRIMARY KEY,
    -- Its number, as explain has it.
    verdict INTEGER NOT NULL,
    -- The first time in that hour, how often in it, and the last time.
    at_us INTEGER NOT NULL,
    times INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    certainty TEXT NOT NULL,
    unit TEXT,
    uid INTEGER,
    container TEXT,
    pid INTEGER,
    comm TEXT,
    -- The first notification that it is about.
    notification INTEGER,
    what TEXT NOT NULL
) STRICT;

CREATE VIEW notifications AS
SELECT n.id, n.id >> 40 AS session, n.id & 1099511627775 AS number, s.began_us, s.host, s.boot_id,
    s.kernel, s.manager_version, f.unit, f.uid, f.container, f.runtime, f.comm, f.class, f.manager,
    n.pid, n.at_us, n.at_ns,
    CASE n.state WHEN 0 THEN 'delivered' WHEN 1 THEN 'failed' WHEN 2 THEN 'sending'
        WHEN 3 THEN 'queued' WHEN 4 THEN 'filtered' WHEN 5 THEN 'destroyed' ELSE 'unknown' END AS state,
    n.errno, n.length_bytes, n.says, n.delivery_ns, n.blocked_ns, n.startup_ns, n.startup_process_ns,
    n.reload_ns, n.stop_ns, n.watchdog_ns, n.watchdog_jitter_ns, n.watchdog_margin_ns, n.extend_ns,
    n.extend_margin_ns, n.status_ns, n.hop_ns, n.told & 1099511627775 AS told, n.told_class
FROM notification n
LEFT JOIN flow f ON f.id = n.flow
LEFT JOIN session s ON s.id = n.id >> 40;

CREATE VIEW verdicts AS
SELECT v.id, v.id >> 40 AS session, v.verdict, s.began_us, s.host, s.boot_id, s.kernel,
    s.manager_version, v.unit, v.uid, v.container, f.runtime, v.comm, f.class, f.manager, v.pid, v.at_us,
    v.last_us, v.at_ns, v.notification & 1099511627775 AS number, v.kind, v.certainty, v.what, v.times
FROM verdict v
LEFT JOIN notification n ON n.id = v.notification
LEFT JOIN flow f ON f.id = n.flow
LEFT JOIN session s ON s.id = v.id >> 40;

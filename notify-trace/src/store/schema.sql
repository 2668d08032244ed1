-- A recording of notify-trace, version 1 (PRAGMA user_version). docs/recording.md explains it.
-- Times: *_us are microseconds since 1970-01-01 00:00 UTC, *_ns CLOCK_MONOTONIC of the traced host.

-- One run of an agent.
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    boot_id TEXT,
    kernel TEXT NOT NULL,
    tool_version TEXT NOT NULL,
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
    is_complete INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Its events in order.
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES session (id),
    events INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    -- JSON Lines, compressed with zstd, and how long they are without that.
    bytes INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE INDEX block_of_session ON block (session, id);

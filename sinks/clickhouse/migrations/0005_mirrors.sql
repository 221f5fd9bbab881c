-- What a broker without a disk would lose. Written only in the embedded stack.

-- workspace.checkpoint, whole batches at a time: the newest record of each key. `version` is
-- (ordinal of the epoch, offset), so that a restarted broker's first record wins over the last
-- one before it. Read with FINAL.
CREATE TABLE IF NOT EXISTS mirror_checkpoint
(
    partition UInt32,
    key String,
    value String CODEC(ZSTD(3)),
    epoch LowCardinality(String),
    offset UInt64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (partition, key);

-- Topics that are never compacted. A record is known by its bytes, because a restarted broker may
-- give it another offset: its own number (`version` in the JSON) is what orders it. Read with FINAL.
CREATE TABLE IF NOT EXISTS mirror_control
(
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    key String,
    value String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, key, value);

-- sink.positions: the intent of the last insert of each topic and partition. Where engine and
-- broker died together in the middle of it, its views are completed from the raw table.
CREATE TABLE IF NOT EXISTS mirror_positions
(
    topic LowCardinality(String),
    partition UInt32,
    value String CODEC(ZSTD(3)),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, partition);

-- One table each for the other sequenced topics.

CREATE TABLE IF NOT EXISTS alerts
(
    seq UInt64 CODEC(Delta, ZSTD(1)),
    partition UInt32,
    id String,
    kind LowCardinality(String),
    workspace_id LowCardinality(String),
    at DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(at_ms, 'UTC'),
    `limit` LowCardinality(String),
    scope LowCardinality(String),
    measure LowCardinality(String),
    window LowCardinality(String),
    threshold_percent Nullable(UInt16),
    severity LowCardinality(String),
    action LowCardinality(String),
    -- requests or tokens as they are; charge in pico-USD
    used Int128,
    amount Int128,
    episode String,
    event_id String,
    plan_version UInt64,
    at_ms Int64 EPHEMERAL
)
ENGINE = MergeTree
ORDER BY (workspace_id, at, seq)
TTL toDateTime(at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- What was billed is kept for ever.
CREATE TABLE IF NOT EXISTS overage
(
    seq UInt64 CODEC(Delta, ZSTD(1)),
    partition UInt32,
    id String,
    workspace_id LowCardinality(String),
    period LowCardinality(String),
    revision UInt32,
    from_cumulative Decimal(38, 12) DEFAULT toDecimal128(from_cumulative_pico, 0) * toDecimal128('0.000000000001', 12),
    to_cumulative Decimal(38, 12) DEFAULT toDecimal128(to_cumulative_pico, 0) * toDecimal128('0.000000000001', 12),
    at DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(at_ms, 'UTC'),
    final Bool,
    plan_version UInt64,
    from_cumulative_pico Int128 EPHEMERAL,
    to_cumulative_pico Int128 EPHEMERAL,
    at_ms Int64 EPHEMERAL
)
ENGINE = MergeTree
ORDER BY (workspace_id, period, revision, seq)
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- Uncounted until resolved; past 37 days an id can no longer be looked up.
CREATE TABLE IF NOT EXISTS late
(
    seq UInt64 CODEC(Delta, ZSTD(1)),
    partition UInt32,
    topic LowCardinality(String),
    offset UInt64,
    arrival DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(arrival_ms, 'UTC'),
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    event_id String,
    source LowCardinality(String),
    priced_seq UInt64,
    workspace_id LowCardinality(String) DEFAULT JSONExtractString(event, 'workspace_id'),
    -- the event's JSON, as it will be read again when it is re-admitted
    event String CODEC(ZSTD(3)),
    arrival_ms Int64 EPHEMERAL,
    time_ms Int64 EPHEMERAL
)
ENGINE = MergeTree
ORDER BY (partition, seq)
TTL toDateTime(arrival) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- Refused records with their own bytes. 30 days: a refused event may hold a prompt.
CREATE TABLE IF NOT EXISTS dead_letters
(
    seq UInt64 CODEC(Delta, ZSTD(1)),
    partition UInt32,
    topic LowCardinality(String),
    offset UInt64,
    arrival DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(arrival_ms, 'UTC'),
    reason LowCardinality(String),
    detail String,
    -- NULL where the record had none
    record_key Nullable(String) DEFAULT base64Decode(key_base64) CODEC(ZSTD(3)),
    record_value Nullable(String) DEFAULT base64Decode(value_base64) CODEC(ZSTD(3)),
    record_headers Array(Tuple(name String, value Nullable(String))) DEFAULT arrayMap(h -> (h.name, base64Decode(h.value_base64)), headers) CODEC(ZSTD(3)),
    arrival_ms Int64 EPHEMERAL,
    key_base64 Nullable(String) EPHEMERAL,
    value_base64 Nullable(String) EPHEMERAL,
    headers Array(Tuple(name String, value_base64 Nullable(String))) EPHEMERAL
)
ENGINE = MergeTree
ORDER BY (arrival, partition, seq)
TTL toDateTime(arrival) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

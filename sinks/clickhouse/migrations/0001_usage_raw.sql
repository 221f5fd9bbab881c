-- One row for each row of usage.priced.
--
-- The loader inserts the records' JSON as it is: JSON fields whose names are EPHEMERAL columns are
-- read and not stored, the stored columns are made from them here. Text that is absent is '' (an
-- event's own texts are never empty); numbers, costs and usage that are absent are NULL, because
-- unknown is not zero.
--
-- The deduplication window is what makes a retried insert exact. It counts blocks; ClickHouse's
-- default is 0, and a target of a materialized view without one counts a retry twice.
CREATE TABLE IF NOT EXISTS usage_raw
(
    seq UInt64 CODEC(Delta, ZSTD(1)),
    partition UInt32 CODEC(T64, ZSTD(1)),
    topic LowCardinality(String),
    offset UInt64 CODEC(Delta, ZSTD(1)),
    arrival DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(arrival_ms, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    counted DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(counted_ms, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    event_id String CODEC(ZSTD(1)),
    source LowCardinality(String),

    provider LowCardinality(String) DEFAULT event.provider,
    operation LowCardinality(String) DEFAULT if(event.operation = '', 'chat', event.operation),
    request_model LowCardinality(String) DEFAULT event.request_model,
    response_model LowCardinality(String) DEFAULT event.response_model,
    -- the model that is priced and reported: the one that answered, else the one asked
    model LowCardinality(String) DEFAULT if(event.response_model = '', event.request_model, event.response_model),
    response_id String DEFAULT event.response_id CODEC(ZSTD(1)),
    service_tier LowCardinality(String) DEFAULT event.service_tier,
    batch Bool DEFAULT event.batch,
    region LowCardinality(String) DEFAULT event.region,
    workspace_id LowCardinality(String) DEFAULT event.workspace_id,
    user_id String DEFAULT event.user_id CODEC(ZSTD(1)),
    api_key_id LowCardinality(String) DEFAULT event.api_key_id,
    request_type LowCardinality(String) DEFAULT event.request_type,
    task_id String DEFAULT event.task_id CODEC(ZSTD(1)),
    trackable_type LowCardinality(String) DEFAULT event.trackable.type,
    trackable_id String DEFAULT event.trackable.id CODEC(ZSTD(1)),
    tags Map(LowCardinality(String), String) DEFAULT event.tags,
    metadata String DEFAULT ifNull(event.metadata, '') CODEC(ZSTD(3)),
    status LowCardinality(String) DEFAULT if(event.status = '', 'ok', event.status),
    started_at Nullable(DateTime64(3, 'UTC')) DEFAULT fromUnixTimestamp64Milli(event.started_at_ms, 'UTC'),
    duration_ms Nullable(UInt32) DEFAULT event.duration_ms CODEC(T64, ZSTD(1)),
    time_to_first_token_ms Nullable(UInt32) DEFAULT event.time_to_first_token_ms CODEC(T64, ZSTD(1)),
    reported_cost Nullable(Decimal(38, 12)) DEFAULT toDecimal128(event.reported_cost_pico, 0) * toDecimal128('0.000000000001', 12) CODEC(ZSTD(1)),
    usage_quality LowCardinality(String) DEFAULT if(event.usage_quality = '', 'measured', event.usage_quality),
    provider_usage Map(LowCardinality(String), UInt64) DEFAULT event.provider_usage,

    input_tokens Nullable(UInt64) DEFAULT event.usage.input_tokens CODEC(T64, ZSTD(1)),
    output_tokens Nullable(UInt64) DEFAULT event.usage.output_tokens CODEC(T64, ZSTD(1)),
    -- 0 also where usage is unknown: input_tokens says which
    cache_read_input_tokens UInt64 DEFAULT event.usage.cache_read_input_tokens CODEC(T64, ZSTD(1)),
    cache_write_input_tokens UInt64 DEFAULT event.usage.cache_write_input_tokens CODEC(T64, ZSTD(1)),
    reasoning_output_tokens UInt64 DEFAULT event.usage.reasoning_output_tokens CODEC(T64, ZSTD(1)),

    -- price in atto-USD, cost in pico-USD, as the worker computed them
    leaves Array(Tuple(leaf LowCardinality(String), quantity UInt64, price_atto Int128, cost_pico Int128)) CODEC(ZSTD(1)),
    cost Nullable(Decimal(38, 12)) DEFAULT toDecimal128(cost_pico, 0) * toDecimal128('0.000000000001', 12) CODEC(ZSTD(1)),
    charge Nullable(Decimal(38, 12)) DEFAULT toDecimal128(charge_pico, 0) * toDecimal128('0.000000000001', 12) CODEC(ZSTD(1)),
    cost_quality LowCardinality(String),
    price_rule LowCardinality(String),
    price_version LowCardinality(String),
    plan_version UInt64 CODEC(T64, ZSTD(1)),
    billing_period LowCardinality(String),
    origin_period LowCardinality(String),

    arrival_ms Int64 EPHEMERAL,
    time_ms Int64 EPHEMERAL,
    counted_ms Int64 EPHEMERAL,
    cost_pico Nullable(Int128) EPHEMERAL,
    charge_pico Nullable(Int128) EPHEMERAL,
    event Tuple(
        provider String, operation String, request_model String, response_model String,
        response_id String, service_tier String, batch Bool, region String,
        usage Tuple(
            input_tokens Nullable(UInt64), output_tokens Nullable(UInt64),
            cache_read_input_tokens UInt64, cache_write_input_tokens UInt64,
            reasoning_output_tokens UInt64),
        workspace_id String, user_id String, api_key_id String, request_type String,
        task_id String, trackable Tuple(type String, id String), tags Map(String, String),
        metadata Nullable(String), status String, started_at_ms Nullable(Int64),
        duration_ms Nullable(UInt32), time_to_first_token_ms Nullable(UInt32),
        reported_cost_pico Nullable(Int128), usage_quality String,
        provider_usage Map(String, UInt64)) EPHEMERAL
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(counted)
ORDER BY (workspace_id, counted, seq)
TTL toDateTime(counted) + INTERVAL 365 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800,
    ttl_only_drop_parts = 1;

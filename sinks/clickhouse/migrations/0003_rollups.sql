-- Sums of usage_raw, kept by materialized views inside the same insert. Few dimensions each: a rollup
-- with users in a quarter-hour key would have as many rows as raw.
--
-- Every rollup has the same measures. Unknown usage and unpriced cost add nothing to the sums and
-- are counted (`unpriced`). Money is Decimal(38, 12): sum(Int64) would wrap in silence.
-- Read them with sum(...) GROUP BY: rows of one key are joined only when parts merge.
--
-- `last_seq` tells after a crash whether a view has an insert or lacks it (views.py): the rows of a
-- key all come from one partition number, in the order of their seq.

-- Quarter-hours: a day in any time zone is a whole number of them.
CREATE TABLE IF NOT EXISTS usage_quarter
(
    quarter DateTime('UTC'),
    workspace_id LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    request_type LowCardinality(String),
    cost_quality LowCardinality(String),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (workspace_id, quarter, provider, model, request_type, cost_quality)
TTL quarter + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_quarter_view TO usage_quarter AS
SELECT
    toStartOfFifteenMinutes(toDateTime(counted, 'UTC')) AS quarter,
    workspace_id,
    provider,
    model,
    request_type,
    cost_quality,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY quarter, workspace_id, provider, model, request_type, cost_quality;

-- The same by UTC day.
CREATE TABLE IF NOT EXISTS usage_day
(
    day Date,
    workspace_id LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    request_type LowCardinality(String),
    cost_quality LowCardinality(String),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (workspace_id, day, provider, model, request_type, cost_quality)
TTL day + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_day_view TO usage_day AS
SELECT
    toDate(counted) AS day,
    workspace_id,
    provider,
    model,
    request_type,
    cost_quality,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY day, workspace_id, provider, model, request_type, cost_quality;

-- Users by day; events without a user are under ''.
CREATE TABLE IF NOT EXISTS usage_user_day
(
    day Date,
    workspace_id LowCardinality(String),
    user_id String,
    provider LowCardinality(String),
    model LowCardinality(String),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (workspace_id, day, user_id, provider, model)
TTL day + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_user_day_view TO usage_user_day AS
SELECT
    toDate(counted) AS day,
    workspace_id,
    user_id,
    provider,
    model,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY day, workspace_id, user_id, provider, model;

-- All workspaces together.
CREATE TABLE IF NOT EXISTS usage_hour
(
    hour DateTime('UTC'),
    partition UInt32,
    provider LowCardinality(String),
    model LowCardinality(String),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (hour, partition, provider, model)
TTL hour + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_hour_view TO usage_hour AS
SELECT
    toStartOfHour(toDateTime(counted, 'UTC')) AS hour,
    partition,
    provider,
    model,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY hour, partition, provider, model;

-- What a task cost, over its whole life.
CREATE TABLE IF NOT EXISTS usage_task
(
    workspace_id LowCardinality(String),
    task_id String,
    provider LowCardinality(String),
    model LowCardinality(String),
    last SimpleAggregateFunction(max, Date),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (workspace_id, task_id, provider, model)
TTL last + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_task_view TO usage_task AS
SELECT
    workspace_id,
    task_id,
    provider,
    model,
    max(toDate(counted)) AS last,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
WHERE task_id != ''
GROUP BY workspace_id, task_id, provider, model;

-- What was spent on a caller's own object, over its whole life.
CREATE TABLE IF NOT EXISTS usage_trackable
(
    workspace_id LowCardinality(String),
    trackable_type LowCardinality(String),
    trackable_id String,
    provider LowCardinality(String),
    model LowCardinality(String),
    last SimpleAggregateFunction(max, Date),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (workspace_id, trackable_type, trackable_id, provider, model)
TTL last + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_trackable_view TO usage_trackable AS
SELECT
    workspace_id,
    trackable_type,
    trackable_id,
    provider,
    model,
    max(toDate(counted)) AS last,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
WHERE trackable_id != ''
GROUP BY workspace_id, trackable_type, trackable_id, provider, model;

-- Lifetime totals. They never expire.
CREATE TABLE IF NOT EXISTS usage_total
(
    workspace_id LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    requests UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_input_tokens UInt64,
    cache_write_input_tokens UInt64,
    reasoning_output_tokens UInt64,
    cost Decimal(38, 12),
    charge Decimal(38, 12),
    unpriced UInt64,
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = SummingMergeTree
ORDER BY (workspace_id, provider, model)
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_total_view TO usage_total AS
SELECT
    workspace_id,
    provider,
    model,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY workspace_id, provider, model;

-- Who was active: read with uniqMerge(users).
CREATE TABLE IF NOT EXISTS usage_unique_users
(
    day Date,
    workspace_id LowCardinality(String),
    users AggregateFunction(uniq, String),
    last_seq SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (workspace_id, day)
TTL day + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_unique_users_view TO usage_unique_users AS
SELECT
    toDate(counted) AS day,
    workspace_id,
    uniqState(user_id) AS users,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
WHERE user_id != ''
GROUP BY day, workspace_id;

-- Which ids were counted, for events that come too late for the workers' own memory of ids
-- (an event may be 35 days old).
CREATE TABLE IF NOT EXISTS usage_ids
(
    workspace_id LowCardinality(String),
    event_id String CODEC(ZSTD(1)),
    arrival DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    partition UInt32,
    seq UInt64
)
ENGINE = MergeTree
ORDER BY (workspace_id, event_id)
TTL toDateTime(arrival) + INTERVAL 40 DAY
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_ids_view TO usage_ids AS
SELECT workspace_id, event_id, arrival, partition, seq
FROM usage_raw;

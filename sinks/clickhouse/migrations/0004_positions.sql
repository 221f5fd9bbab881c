-- How far each sequenced topic is loaded, written by the inserts themselves. A seq that stands here is
-- in the raw table; the other views of the same insert may still be a moment behind.
-- `inserts` counts inserts: an intent with too many after it no longer trusts its token.
CREATE TABLE IF NOT EXISTS positions
(
    topic LowCardinality(String),
    partition UInt32,
    seq SimpleAggregateFunction(max, UInt64),
    rows SimpleAggregateFunction(sum, UInt64),
    inserts SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (topic, partition)
SETTINGS non_replicated_deduplication_window = 100000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS positions_of_usage_raw TO positions AS
SELECT 'usage.priced' AS topic, partition, max(seq) AS seq, count() AS rows, 1 AS inserts
FROM usage_raw GROUP BY partition;

CREATE MATERIALIZED VIEW IF NOT EXISTS positions_of_alerts TO positions AS
SELECT 'usage.alerts' AS topic, partition, max(seq) AS seq, count() AS rows, 1 AS inserts
FROM alerts GROUP BY partition;

CREATE MATERIALIZED VIEW IF NOT EXISTS positions_of_overage TO positions AS
SELECT 'usage.overage' AS topic, partition, max(seq) AS seq, count() AS rows, 1 AS inserts
FROM overage GROUP BY partition;

CREATE MATERIALIZED VIEW IF NOT EXISTS positions_of_late TO positions AS
SELECT 'usage.late' AS topic, partition, max(seq) AS seq, count() AS rows, 1 AS inserts
FROM late GROUP BY partition;

CREATE MATERIALIZED VIEW IF NOT EXISTS positions_of_dead_letters TO positions AS
SELECT 'usage.dead' AS topic, partition, max(seq) AS seq, count() AS rows, 1 AS inserts
FROM dead_letters GROUP BY partition;


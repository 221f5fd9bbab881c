-- What a figure rests on, in every rollup; and the costs of input and output apart.
--
-- Quarter-hours and days had the quality in their key already. Now all have it: as columns it would
-- be nine more sums in each of five views, and an insert of 35,000 rows cost 15 % more CPU; one
-- more key costs 2 %, and hardly a row, because the calls of a model and task are nearly always of
-- one quality (measured on 26.9, `python -m tests.bench.views 8 9`).
--
-- `input_cost` and `output_cost` are the leaves of that side (price_units.py: SIDES); what a cost
-- has beyond them is neither's: searches, fetches, fees. A cost that is not the sum of its leaves,
-- because somebody else reported it, has no sides.
--
-- The tables stay, with their deduplication windows. The views are made anew: one whose query was
-- changed (MODIFY QUERY) forgets, with the server's next restart, the tokens that it had seen, and a
-- retry counts twice (seen on 26.9); one that was made anew keeps them.
-- What they hold is filled and split from usage_raw, whose rows are kept for 365 days:
-- * rows above a key's `last_seq` are left out. The key lacks their insert, which a crash cut off,
--   and gets it whole when the loader goes on; what a row here has as `last_seq` is what it holds.
-- * what is moved to its own quality is taken from quality '' by the same insert (UInt64 wraps, and
--   its sums come out right). Nothing is left there but what usage_raw no longer holds: its quality
--   is not known.
-- * a key is done by one insert and is then no longer looked at, so each statement can be run again.

ALTER TABLE usage_raw
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) DEFAULT if(
        cost = toDecimal128(arraySum(leaves.cost_pico), 0) * toDecimal128('0.000000000001', 12),
        toDecimal128(arraySum((leaf, pico) -> if(leaf IN (
            'output', 'output_reasoning', 'output_audio', 'output_image', 'output_video',
            'output_citation', 'output_audio_time', 'images'
        ), pico, 0), leaves.leaf, leaves.cost_pico), 0) * toDecimal128('0.000000000001', 12),
        0) CODEC(ZSTD(1)) AFTER charge,
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) DEFAULT if(
        cost = toDecimal128(arraySum(leaves.cost_pico), 0) * toDecimal128('0.000000000001', 12),
        toDecimal128(arraySum((leaf, pico) -> if(leaf IN (
            'input', 'input_audio', 'input_image', 'input_video', 'cache_read',
            'cache_read_audio', 'cache_read_image', 'cache_read_video', 'cache_write',
            'cache_write_5m', 'cache_write_30m', 'cache_write_1h', 'cache_write_12h',
            'input_audio_time', 'input_characters', 'pages'
        ), pico, 0), leaves.leaf, leaves.cost_pico), 0) * toDecimal128('0.000000000001', 12),
        0) CODEC(ZSTD(1)) AFTER charge;

ALTER TABLE usage_quarter
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_quarter
    (quarter, workspace_id, provider, model, request_type, cost_quality, input_cost, output_cost)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    quarter, workspace_id, provider, model, request_type, cost_quality,
    sum(rows.input_cost),
    sum(rows.output_cost)
FROM (
    SELECT toStartOfFifteenMinutes(toDateTime(counted, 'UTC')) AS quarter, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT quarter, workspace_id, provider, model, request_type, cost_quality, max(last_seq) AS upto
    FROM usage_quarter
    GROUP BY quarter, workspace_id, provider, model, request_type, cost_quality
    HAVING sum(input_cost) = 0 AND sum(output_cost) = 0
) AS kept USING (quarter, workspace_id, provider, model, request_type, cost_quality)
WHERE rows.seq <= kept.upto
GROUP BY quarter, workspace_id, provider, model, request_type, cost_quality
HAVING sum(rows.input_cost) != 0 OR sum(rows.output_cost) != 0
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_quarter_view;

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
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY quarter, workspace_id, provider, model, request_type, cost_quality;

ALTER TABLE usage_day
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_day
    (day, workspace_id, provider, model, request_type, cost_quality, input_cost, output_cost)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    day, workspace_id, provider, model, request_type, cost_quality,
    sum(rows.input_cost),
    sum(rows.output_cost)
FROM (
    SELECT toDate(counted) AS day, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT day, workspace_id, provider, model, request_type, cost_quality, max(last_seq) AS upto
    FROM usage_day
    GROUP BY day, workspace_id, provider, model, request_type, cost_quality
    HAVING sum(input_cost) = 0 AND sum(output_cost) = 0
) AS kept USING (day, workspace_id, provider, model, request_type, cost_quality)
WHERE rows.seq <= kept.upto
GROUP BY day, workspace_id, provider, model, request_type, cost_quality
HAVING sum(rows.input_cost) != 0 OR sum(rows.output_cost) != 0
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_day_view;

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
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY day, workspace_id, provider, model, request_type, cost_quality;

ALTER TABLE usage_user_day
    ADD COLUMN IF NOT EXISTS cost_quality LowCardinality(String) AFTER model,
    MODIFY ORDER BY (workspace_id, day, user_id, provider, model, cost_quality),
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_user_day
    (day, workspace_id, user_id, provider, model, cost_quality, requests, input_tokens,
    output_tokens, cache_read_input_tokens, cache_write_input_tokens, reasoning_output_tokens,
    cost, charge, unpriced, input_cost, output_cost, last_seq)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    day, workspace_id, user_id, provider, model,
    if(sign = 1, rows.cost_quality, '') AS quality,
    toUInt64(sum(sign)),
    toUInt64(sum(sign * toInt64(ifNull(rows.input_tokens, 0)))),
    toUInt64(sum(sign * toInt64(ifNull(rows.output_tokens, 0)))),
    toUInt64(sum(sign * toInt64(rows.cache_read_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.cache_write_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.reasoning_output_tokens))),
    sum(sign * ifNull(rows.cost, 0)),
    sum(sign * ifNull(rows.charge, 0)),
    toUInt64(sumIf(sign, rows.cost_quality = 'unpriced')),
    sumIf(rows.input_cost, sign = 1),
    sumIf(rows.output_cost, sign = 1),
    maxIf(rows.seq, sign = 1)
FROM (
    SELECT toDate(counted) AS day, arrayJoin([1, -1]) AS sign, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT
        day, workspace_id, user_id, provider, model,
        max(last_seq) AS upto
    FROM usage_user_day
    GROUP BY day, workspace_id, user_id, provider, model
    HAVING countIf(cost_quality != '') = 0
) AS kept USING (day, workspace_id, user_id, provider, model)
WHERE rows.seq <= kept.upto
GROUP BY day, workspace_id, user_id, provider, model, sign, quality
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_user_day_view;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_user_day_view TO usage_user_day AS
SELECT
    toDate(counted) AS day,
    workspace_id,
    user_id,
    provider,
    model,
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
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY day, workspace_id, user_id, provider, model, cost_quality;

ALTER TABLE usage_hour
    ADD COLUMN IF NOT EXISTS cost_quality LowCardinality(String) AFTER model,
    MODIFY ORDER BY (hour, partition, provider, model, cost_quality),
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_hour
    (hour, partition, provider, model, cost_quality, requests, input_tokens, output_tokens,
    cache_read_input_tokens, cache_write_input_tokens, reasoning_output_tokens, cost, charge,
    unpriced, input_cost, output_cost, last_seq)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    hour, partition, provider, model,
    if(sign = 1, rows.cost_quality, '') AS quality,
    toUInt64(sum(sign)),
    toUInt64(sum(sign * toInt64(ifNull(rows.input_tokens, 0)))),
    toUInt64(sum(sign * toInt64(ifNull(rows.output_tokens, 0)))),
    toUInt64(sum(sign * toInt64(rows.cache_read_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.cache_write_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.reasoning_output_tokens))),
    sum(sign * ifNull(rows.cost, 0)),
    sum(sign * ifNull(rows.charge, 0)),
    toUInt64(sumIf(sign, rows.cost_quality = 'unpriced')),
    sumIf(rows.input_cost, sign = 1),
    sumIf(rows.output_cost, sign = 1),
    maxIf(rows.seq, sign = 1)
FROM (
    SELECT toStartOfHour(toDateTime(counted, 'UTC')) AS hour, arrayJoin([1, -1]) AS sign, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT
        hour, partition, provider, model,
        max(last_seq) AS upto
    FROM usage_hour
    GROUP BY hour, partition, provider, model
    HAVING countIf(cost_quality != '') = 0
) AS kept USING (hour, partition, provider, model)
WHERE rows.seq <= kept.upto
GROUP BY hour, partition, provider, model, sign, quality
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_hour_view;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_hour_view TO usage_hour AS
SELECT
    toStartOfHour(toDateTime(counted, 'UTC')) AS hour,
    partition,
    provider,
    model,
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
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY hour, partition, provider, model, cost_quality;

ALTER TABLE usage_task
    ADD COLUMN IF NOT EXISTS cost_quality LowCardinality(String) AFTER model,
    MODIFY ORDER BY (workspace_id, task_id, provider, model, cost_quality),
    ADD COLUMN IF NOT EXISTS first_call SimpleAggregateFunction(min, DateTime64(3, 'UTC'))
        DEFAULT '2299-12-31' CODEC(ZSTD(1)) AFTER last,
    ADD COLUMN IF NOT EXISTS last_call SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
        CODEC(ZSTD(1)) AFTER first_call,
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_task
    (workspace_id, task_id, provider, model, cost_quality, last, first_call, last_call, requests,
    input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens,
    reasoning_output_tokens, cost, charge, unpriced, input_cost, output_cost, last_seq)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    workspace_id, task_id, provider, model,
    if(sign = 1, rows.cost_quality, '') AS quality,
    if(sign = 1, max(toDate(rows.counted)), any(kept.last_day)),
    if(sign = 1, min(rows.counted), toDateTime64('2299-12-31', 3, 'UTC')),
    if(sign = 1, max(rows.counted), toDateTime64(0, 3, 'UTC')),
    toUInt64(sum(sign)),
    toUInt64(sum(sign * toInt64(ifNull(rows.input_tokens, 0)))),
    toUInt64(sum(sign * toInt64(ifNull(rows.output_tokens, 0)))),
    toUInt64(sum(sign * toInt64(rows.cache_read_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.cache_write_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.reasoning_output_tokens))),
    sum(sign * ifNull(rows.cost, 0)),
    sum(sign * ifNull(rows.charge, 0)),
    toUInt64(sumIf(sign, rows.cost_quality = 'unpriced')),
    sumIf(rows.input_cost, sign = 1),
    sumIf(rows.output_cost, sign = 1),
    maxIf(rows.seq, sign = 1)
FROM (
    SELECT arrayJoin([1, -1]) AS sign, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT
        workspace_id, task_id, provider, model,
        max(last_seq) AS upto,
        max(last) AS last_day
    FROM usage_task
    GROUP BY workspace_id, task_id, provider, model
    HAVING countIf(cost_quality != '') = 0
) AS kept USING (workspace_id, task_id, provider, model)
WHERE rows.seq <= kept.upto
GROUP BY workspace_id, task_id, provider, model, sign, quality
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_task_view;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_task_view TO usage_task AS
SELECT
    workspace_id,
    task_id,
    provider,
    model,
    cost_quality,
    max(toDate(counted)) AS last,
    min(usage_raw.counted) AS first_call,
    max(usage_raw.counted) AS last_call,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
WHERE task_id != ''
GROUP BY workspace_id, task_id, provider, model, cost_quality;

ALTER TABLE usage_trackable
    ADD COLUMN IF NOT EXISTS cost_quality LowCardinality(String) AFTER model,
    MODIFY ORDER BY (workspace_id, trackable_type, trackable_id, provider, model, cost_quality),
    ADD COLUMN IF NOT EXISTS first_call SimpleAggregateFunction(min, DateTime64(3, 'UTC'))
        DEFAULT '2299-12-31' CODEC(ZSTD(1)) AFTER last,
    ADD COLUMN IF NOT EXISTS last_call SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
        CODEC(ZSTD(1)) AFTER first_call,
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_trackable
    (workspace_id, trackable_type, trackable_id, provider, model, cost_quality, last, first_call,
    last_call, requests, input_tokens, output_tokens, cache_read_input_tokens,
    cache_write_input_tokens, reasoning_output_tokens, cost, charge, unpriced, input_cost,
    output_cost, last_seq)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    workspace_id, trackable_type, trackable_id, provider, model,
    if(sign = 1, rows.cost_quality, '') AS quality,
    if(sign = 1, max(toDate(rows.counted)), any(kept.last_day)),
    if(sign = 1, min(rows.counted), toDateTime64('2299-12-31', 3, 'UTC')),
    if(sign = 1, max(rows.counted), toDateTime64(0, 3, 'UTC')),
    toUInt64(sum(sign)),
    toUInt64(sum(sign * toInt64(ifNull(rows.input_tokens, 0)))),
    toUInt64(sum(sign * toInt64(ifNull(rows.output_tokens, 0)))),
    toUInt64(sum(sign * toInt64(rows.cache_read_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.cache_write_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.reasoning_output_tokens))),
    sum(sign * ifNull(rows.cost, 0)),
    sum(sign * ifNull(rows.charge, 0)),
    toUInt64(sumIf(sign, rows.cost_quality = 'unpriced')),
    sumIf(rows.input_cost, sign = 1),
    sumIf(rows.output_cost, sign = 1),
    maxIf(rows.seq, sign = 1)
FROM (
    SELECT arrayJoin([1, -1]) AS sign, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT
        workspace_id, trackable_type, trackable_id, provider, model,
        max(last_seq) AS upto,
        max(last) AS last_day
    FROM usage_trackable
    GROUP BY workspace_id, trackable_type, trackable_id, provider, model
    HAVING countIf(cost_quality != '') = 0
) AS kept USING (workspace_id, trackable_type, trackable_id, provider, model)
WHERE rows.seq <= kept.upto
GROUP BY workspace_id, trackable_type, trackable_id, provider, model, sign, quality
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_trackable_view;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_trackable_view TO usage_trackable AS
SELECT
    workspace_id,
    trackable_type,
    trackable_id,
    provider,
    model,
    cost_quality,
    max(toDate(counted)) AS last,
    min(usage_raw.counted) AS first_call,
    max(usage_raw.counted) AS last_call,
    count() AS requests,
    sum(ifNull(usage_raw.input_tokens, 0)) AS input_tokens,
    sum(ifNull(usage_raw.output_tokens, 0)) AS output_tokens,
    sum(usage_raw.cache_read_input_tokens) AS cache_read_input_tokens,
    sum(usage_raw.cache_write_input_tokens) AS cache_write_input_tokens,
    sum(usage_raw.reasoning_output_tokens) AS reasoning_output_tokens,
    sum(ifNull(usage_raw.cost, 0)) AS cost,
    sum(ifNull(usage_raw.charge, 0)) AS charge,
    countIf(cost_quality = 'unpriced') AS unpriced,
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
WHERE trackable_id != ''
GROUP BY workspace_id, trackable_type, trackable_id, provider, model, cost_quality;

ALTER TABLE usage_total
    ADD COLUMN IF NOT EXISTS cost_quality LowCardinality(String) AFTER model,
    MODIFY ORDER BY (workspace_id, provider, model, cost_quality),
    ADD COLUMN IF NOT EXISTS input_cost Decimal(38, 12) AFTER charge,
    ADD COLUMN IF NOT EXISTS output_cost Decimal(38, 12) AFTER input_cost;

INSERT INTO usage_total
    (workspace_id, provider, model, cost_quality, requests, input_tokens, output_tokens,
    cache_read_input_tokens, cache_write_input_tokens, reasoning_output_tokens, cost, charge,
    unpriced, input_cost, output_cost, last_seq)
SETTINGS async_insert = 0, insert_deduplicate = 0, deduplicate_insert_select = 'disable'
SELECT
    workspace_id, provider, model,
    if(sign = 1, rows.cost_quality, '') AS quality,
    toUInt64(sum(sign)),
    toUInt64(sum(sign * toInt64(ifNull(rows.input_tokens, 0)))),
    toUInt64(sum(sign * toInt64(ifNull(rows.output_tokens, 0)))),
    toUInt64(sum(sign * toInt64(rows.cache_read_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.cache_write_input_tokens))),
    toUInt64(sum(sign * toInt64(rows.reasoning_output_tokens))),
    sum(sign * ifNull(rows.cost, 0)),
    sum(sign * ifNull(rows.charge, 0)),
    toUInt64(sumIf(sign, rows.cost_quality = 'unpriced')),
    sumIf(rows.input_cost, sign = 1),
    sumIf(rows.output_cost, sign = 1),
    maxIf(rows.seq, sign = 1)
FROM (
    SELECT arrayJoin([1, -1]) AS sign, *
    FROM usage_raw
) AS rows
JOIN (
    SELECT
        workspace_id, provider, model,
        max(last_seq) AS upto
    FROM usage_total
    GROUP BY workspace_id, provider, model
    HAVING countIf(cost_quality != '') = 0
) AS kept USING (workspace_id, provider, model)
WHERE rows.seq <= kept.upto
GROUP BY workspace_id, provider, model, sign, quality
SETTINGS join_algorithm = 'grace_hash';

DROP TABLE IF EXISTS usage_total_view;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_total_view TO usage_total AS
SELECT
    workspace_id,
    provider,
    model,
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
    sum(usage_raw.input_cost) AS input_cost,
    sum(usage_raw.output_cost) AS output_cost,
    max(usage_raw.seq) AS last_seq
FROM usage_raw
GROUP BY workspace_id, provider, model, cost_quality;

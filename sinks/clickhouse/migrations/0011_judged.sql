-- Partition time when an event was counted: with it the rows are a journal that can be replayed
-- exactly. In rows from before, the arrival is as near as is known.
ALTER TABLE usage_raw
    ADD COLUMN IF NOT EXISTS judged_ms Int64 EPHEMERAL 0;

ALTER TABLE usage_raw
    ADD COLUMN IF NOT EXISTS judged DateTime64(3, 'UTC')
    DEFAULT if(judged_ms = 0, arrival, fromUnixTimestamp64Milli(judged_ms, 'UTC'))
    CODEC(DoubleDelta, ZSTD(1)) AFTER counted;

-- What a call cost by our prices, beside the cost that counts: a plan may say that the provider's own
-- figure does (cost_quality is then provider_reported). In rows from before, ours was the only one.
ALTER TABLE usage_raw
    ADD COLUMN IF NOT EXISTS computed_cost_pico Nullable(Int128) EPHEMERAL;

ALTER TABLE usage_raw
    ADD COLUMN IF NOT EXISTS computed_cost Nullable(Decimal(38, 12))
    DEFAULT if(cost_quality = 'provider_reported', toDecimal128(computed_cost_pico, 0) * toDecimal128('0.000000000001', 12), cost)
    CODEC(ZSTD(1)) AFTER leaves;

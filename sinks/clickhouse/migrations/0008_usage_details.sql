-- What a call used beyond the five totals: audio, images, cache writes by duration, searches, pages. Few
-- calls have any of it, so it is one map of what is not 0, by the names of the event's usage, and
-- not a column each: an insert pays for every column. Tokens of another model inside the response
-- are kept as the JSON that the event has of them.
ALTER TABLE usage_raw
    MODIFY COLUMN event Tuple(
        provider String, operation String, request_model String, response_model String,
        response_id String, service_tier String, batch Bool, region String,
        usage Tuple(
            input_tokens Nullable(UInt64), output_tokens Nullable(UInt64),
            cache_read_input_tokens UInt64, cache_write_input_tokens UInt64,
            reasoning_output_tokens UInt64,
            cache_write_5m_input_tokens UInt64,
            cache_write_30m_input_tokens UInt64,
            cache_write_1h_input_tokens UInt64,
            cache_write_12h_input_tokens UInt64,
            audio_input_tokens UInt64,
            image_input_tokens UInt64,
            video_input_tokens UInt64,
            cache_read_audio_input_tokens UInt64,
            cache_read_image_input_tokens UInt64,
            cache_read_video_input_tokens UInt64,
            tool_input_tokens UInt64,
            audio_output_tokens UInt64,
            image_output_tokens UInt64,
            video_output_tokens UInt64,
            citation_tokens UInt64,
            audio_input_ms UInt64,
            audio_output_ms UInt64,
            input_characters UInt64,
            images UInt64,
            pages UInt64,
            web_searches UInt64,
            web_fetches UInt64,
            search_units UInt64,
            image_size String, image_quality String, other_models Array(String)),
        workspace_id String, user_id String, api_key_id String, request_type String,
        task_id String, trackable Tuple(type String, id String), tags Map(String, String),
        metadata Nullable(String), status String, started_at_ms Nullable(Int64),
        duration_ms Nullable(UInt32), time_to_first_token_ms Nullable(UInt32),
        reported_cost_pico Nullable(Int128), usage_quality String,
        provider_usage Map(String, UInt64)) EPHEMERAL;

ALTER TABLE usage_raw
    ADD COLUMN IF NOT EXISTS usage_details Map(LowCardinality(String), UInt64)
    DEFAULT mapFilter((name, n) -> n > 0, map(
        'cache_write_5m_input_tokens', event.usage.cache_write_5m_input_tokens,
        'cache_write_30m_input_tokens', event.usage.cache_write_30m_input_tokens,
        'cache_write_1h_input_tokens', event.usage.cache_write_1h_input_tokens,
        'cache_write_12h_input_tokens', event.usage.cache_write_12h_input_tokens,
        'audio_input_tokens', event.usage.audio_input_tokens,
        'image_input_tokens', event.usage.image_input_tokens,
        'video_input_tokens', event.usage.video_input_tokens,
        'cache_read_audio_input_tokens', event.usage.cache_read_audio_input_tokens,
        'cache_read_image_input_tokens', event.usage.cache_read_image_input_tokens,
        'cache_read_video_input_tokens', event.usage.cache_read_video_input_tokens,
        'tool_input_tokens', event.usage.tool_input_tokens,
        'audio_output_tokens', event.usage.audio_output_tokens,
        'image_output_tokens', event.usage.image_output_tokens,
        'video_output_tokens', event.usage.video_output_tokens,
        'citation_tokens', event.usage.citation_tokens,
        'audio_input_ms', event.usage.audio_input_ms,
        'audio_output_ms', event.usage.audio_output_ms,
        'input_characters', event.usage.input_characters,
        'images', event.usage.images,
        'pages', event.usage.pages,
        'web_searches', event.usage.web_searches,
        'web_fetches', event.usage.web_fetches,
        'search_units', event.usage.search_units))
    AFTER reasoning_output_tokens,
    ADD COLUMN IF NOT EXISTS image_size LowCardinality(String) DEFAULT event.usage.image_size
    AFTER usage_details,
    ADD COLUMN IF NOT EXISTS image_quality LowCardinality(String) DEFAULT event.usage.image_quality
    AFTER image_size,
    ADD COLUMN IF NOT EXISTS other_models Array(String) DEFAULT event.usage.other_models
    CODEC(ZSTD(1)) AFTER image_quality;

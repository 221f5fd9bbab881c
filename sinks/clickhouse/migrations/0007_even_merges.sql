-- 0006 made merges wait for 32 parts, and that was only half of it. ClickHouse takes 5 MB as the cost of
-- reading any part, so one large part and 31 small ones look alike to it: once a part of some size
-- was there, it was written anew every 31 inserts, and where it was a hundred times as large as an
-- insert, with each one (the small parts at the right of a range are left to a later merge). What an
-- insert cost grew with the table: 0.22 CPU seconds after 600 inserts, and more with each.
--
-- With as much of a base as parts, ten parts are merged with each other where they are of one size:
-- every row is written once for each power of ten, and an insert costs 0.14 CPU seconds, the
-- six-hundredth like the first (measured on 26.9).
ALTER TABLE usage_raw MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE alerts MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE overage MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE late MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE dead_letters MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_quarter MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_day MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_user_day MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_hour MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_task MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_trackable MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_total MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_unique_users MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE usage_ids MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE positions MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE mirror_checkpoint MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
ALTER TABLE mirror_positions MODIFY SETTING min_parts_to_merge_at_once = 10,
    merge_selector_base = 10,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;

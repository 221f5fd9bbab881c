"""The control writer on a real broker: versions, stale edits, a writer that was overtaken."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Producer

from spendstream.api.jobs import control_log, control_prices, control_writer
from spendstream.api.jobs.control import apply_plans, read_versions
from spendstream.api.jobs.control_prices import add_prices
from spendstream.api.jobs.control_writer import StaleEdit, head_of
from spendstream.api.log import LogUnavailable, read_to_end
from spendstream.api.plans.file import parse_plans
from spendstream.api.plans.versions import edits_of, in_force, newest
from spendstream.deploy.topics_admin import create
from spendstream.schemas import Plan
from spendstream.schemas.prices.overrides import parse_overrides
from spendstream.schemas.topics import CONTROL_PLANS, CONTROL_PRICES
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("control")]


@pytest.fixture(scope="module")
def broker(broker: KafkaServer) -> KafkaServer:
    create(broker.bootstrap_servers, partitions=2)
    return broker


@pytest.fixture
def bootstrap(broker: KafkaServer) -> str:
    return broker.bootstrap_servers


def with_credit(usd: int) -> Plan:
    return Plan(credit_pico=usd * 10**12)


def test_versions_count_on_and_the_newest_is_in_force(bootstrap: str) -> None:
    before = head_of(read_versions(bootstrap))
    plans = parse_plans('plans: {default: {credit: "12.5"}, ws-a: {overage: true}}')
    written = apply_plans(bootstrap, plans, author="anna", expected_version=before)
    assert [v.version for v in written] == [before + 1, before + 2]
    versions = read_versions(bootstrap)
    assert versions[-2:] == written
    assert newest(versions)[None].plan.credit_pico == 12_500_000_000_000
    assert newest(versions)["ws-a"].author == "anna"


def test_nothing_changes_where_nothing_differs(bootstrap: str) -> None:
    plans: dict[str | None, Plan] = {"ws-b": with_credit(3)}
    (written,) = apply_plans(bootstrap, plans, author="anna", reason="contract 12")
    assert written.reason == "contract 12"
    versions = read_versions(bootstrap)
    assert versions[-1] == written
    assert edits_of(versions, plans, written.written_at_ms) == []
    assert apply_plans(bootstrap, plans, author="ben") == []
    assert read_versions(bootstrap) == versions


def test_a_stale_edit_is_refused_and_writes_nothing(bootstrap: str) -> None:
    seen = head_of(read_versions(bootstrap))
    apply_plans(bootstrap, {"ws-d": with_credit(5)}, author="anna", expected_version=seen)
    with pytest.raises(StaleEdit, match=rf"at version {seen + 1} \(since then by anna\)"):
        apply_plans(bootstrap, {"ws-d": with_credit(6)}, author="ben", expected_version=seen)
    assert newest(read_versions(bootstrap))["ws-d"].plan == with_credit(5)


def test_a_future_version_is_not_in_force_yet(bootstrap: str) -> None:
    apply_plans(bootstrap, {"ws-e": with_credit(1)}, author="anna", effective_from_ms=1_000)
    apply_plans(bootstrap, {"ws-e": with_credit(2)}, author="anna", effective_from_ms=2_000)
    versions = read_versions(bootstrap)
    assert in_force(versions, 1_999)["ws-e"].plan == with_credit(1)
    assert in_force(versions, 2_000)["ws-e"].plan == with_credit(2)


def test_a_writer_that_was_overtaken_cannot_commit(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second writer comes between the first one's reading and its writing."""
    original = control_writer.append
    overtaken = threading.Event()

    def late(producer: Producer, topic: str, records: object, timeout: float) -> None:
        if not overtaken.is_set():
            overtaken.set()
            apply_plans(bootstrap, {"ws-f": with_credit(8)}, author="ben")
        original(producer, topic, records, timeout)  # type: ignore[arg-type]

    monkeypatch.setattr(control_writer, "append", late)
    with pytest.raises(StaleEdit, match="another writer"):
        apply_plans(bootstrap, {"ws-f": with_credit(7)}, author="anna")
    versions = [v for v in read_versions(bootstrap) if v.workspace_id == "ws-f"]
    assert [v.author for v in versions] == ["ben"]


def test_concurrent_writers_never_share_a_version(bootstrap: str) -> None:
    refused: list[StaleEdit] = []

    def write(number: int) -> None:
        try:
            apply_plans(bootstrap, {"ws-g": with_credit(number)}, author=f"a{number}")
        except StaleEdit as error:
            refused.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [v.version for v in read_versions(bootstrap)]
    assert numbers == list(range(1, len(numbers) + 1))
    written = [v for v in read_versions(bootstrap) if v.workspace_id == "ws-g"]
    assert len(written) + len(refused) == 4
    assert written


def test_a_missing_topic_is_named(bootstrap: str) -> None:
    with pytest.raises(LogUnavailable, match=r"topic no\.such is missing"):
        list(read_to_end(bootstrap, "no.such"))


def test_a_record_that_cannot_be_read_is_passed_over_and_said_once(
    bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    apply_plans(bootstrap, {"ws-h": with_credit(1)}, author="anna")
    head = head_of(read_versions(bootstrap))
    put(bootstrap, CONTROL_PLANS, b"{", b'{"version": 7000, "plan": {}}')
    control_log._say.cache_clear()
    caplog.clear()
    (written,) = apply_plans(bootstrap, {"ws-h": with_credit(2)}, author="anna")
    assert written.version == 7001 > head + 1  # nobody else has that number
    assert read_versions(bootstrap)[-1] == written
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("control.plans: the record at offset ")
    assert "Invalid JSON" in said[0]
    assert said[1].endswith("as the workers do (workspace_id: Field required)")


def test_a_price_that_cannot_be_read_is_passed_over(
    bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its number is never given again."""
    entry = {"provider": "openai", "model": "gpt-4o", "valid_from": "2026-01-01"}
    dear, dearer = (
        parse_overrides({"prices": [entry | {"prices": {"input": usd}}]}) for usd in ("7", "8")
    )
    (first,) = add_prices(bootstrap, dear, author="anna")
    control_log._say.cache_clear()
    lost = first.model_dump_json().replace('"version":1', '"version":2').replace("anna", "")
    put(bootstrap, CONTROL_PRICES, lost.encode())
    (second,) = add_prices(bootstrap, dearer, author="anna", expected_version=first.version)
    (third,) = add_prices(bootstrap, dear, author="anna", expected_version=second.version)
    assert [v.version for v in control_prices.read_versions(bootstrap)] == [1, 3, 4]
    assert [first.version, second.version, third.version] == [1, 3, 4]
    assert "control.prices: the record at offset " in caplog.text


def put(bootstrap: str, topic: str, *values: bytes) -> None:
    """Records of nobody's writing."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, key=b"k", value=value, partition=0)
    assert producer.flush(10) == 0

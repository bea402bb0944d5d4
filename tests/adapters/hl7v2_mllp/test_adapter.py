"""Options of a feed, and that it does not listen in clear text for everyone."""

from pathlib import Path
from typing import Any

import pytest

from chartgate.adapters.egress import address_rules
from chartgate.adapters.hl7v2_mllp.adapter import MllpFeed, open_adapter
from chartgate.adapters.loader import check_connection, manifests
from chartgate.clock import utc_now
from chartgate.config import Config, ConnectionConfig, MllpConfig
from chartgate.errors import ConfigError
from chartgate.model.ports import Feed

EGRESS = address_rules(Config(folder=Path()))


class Nobody:
    """An intake that is never reached."""

    def admit(self, received: Any) -> Any:
        raise AssertionError

    async def commit(self, batch: Any) -> list[bytes]:
        raise AssertionError


def connection(site: str = "north", **options: Any) -> ConnectionConfig:
    return ConnectionConfig(name="adt", adapter="hl7v2_mllp", site=site, options=options)


async def opened(config: ConnectionConfig) -> MllpFeed:
    check_connection(config, manifests())
    async with open_adapter(
        config, folder=Path(), clock=utc_now, verdicts={}, egress=EGRESS
    ) as feed:
        return feed


async def test_feed_of_good_options_is_a_feed() -> None:
    options: dict[str, Any] = {
        "zone": "UTC",
        "systems": {"NORTH": "urn:mrn"},
        "processing_id": "T",
        "port": 1,
    }
    assert isinstance(await opened(connection(**options)), Feed)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (connection(site=""), "needs the key site"),
        (connection(processing_id="X"), "processing_id must be one of"),
        (connection(id_from="name"), "id_from must be one of"),
        (connection(systems={"NORTH": 1}), "systems must hold texts"),
        (connection(port="x"), "port must be of type int"),
        (connection(prot=1), "did you mean port"),
    ],
)
async def test_option_when_wrong_is_a_sentence(config: ConnectionConfig, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        await opened(config)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_clear_text_when_others_could_reach_it_is_refused(host: str) -> None:
    feed = await opened(connection(host=host, port=0))

    with pytest.raises(ConfigError, match="without TLS"):
        await feed.listen(Nobody(), MllpConfig(), ready=lambda _: None)

"""Where tokens come from, told to whoever asks and to whoever was refused."""

from tests.web.serving import Served


async def test_refused_client_is_led_to_where_tokens_come_from(served: Served) -> None:
    async with served.http.get(f"{served.url}/fhir/north-clinic/Slot/12") as answer:
        assert answer.status == 401
        challenge = answer.headers["WWW-Authenticate"]
    url = served.gate.config.web.url
    assert challenge == (
        f'Bearer realm="chartgate", resource_metadata="{url}/.well-known/oauth-protected-resource"'
    )
    async with served.http.get(f"{served.url}/.well-known/oauth-protected-resource") as answer:
        metadata = await answer.json()
    assert metadata["resource"] == url
    assert metadata["bearer_methods_supported"] == ["header"]
    assert metadata["smart_configurations"] == [
        f"{url}/fhir/north-clinic/.well-known/smart-configuration"
    ]

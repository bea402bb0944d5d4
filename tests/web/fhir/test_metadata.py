"""What a site says of itself, derived from its charters."""

from tests.web.serving import Served


async def test_capability_statement_lists_what_the_charters_read_and_search(
    served: Served,
) -> None:
    async with served.http.get(f"{served.url}/fhir/north-clinic/metadata") as answer:
        assert answer.status == 200
        statement = await answer.json(content_type=None)
    assert statement["fhirVersion"] == "4.0.1"
    resources = {r["type"]: r for r in statement["rest"][0]["resource"]}
    assert sorted(resources) == ["Appointment", "Patient", "Slot"]
    assert resources["Patient"]["interaction"] == [{"code": "read"}]
    assert "searchParam" not in resources["Patient"]
    assert {p["name"]: p["type"] for p in resources["Slot"]["searchParam"]} == {
        "schedule": "reference",
        "start": "date",
        "status": "token",
    }


async def test_smart_configuration_names_the_token_endpoint_and_the_scopes(
    served: Served,
) -> None:
    url = f"{served.url}/fhir/north-clinic/.well-known/smart-configuration"
    async with served.http.get(url) as answer:
        configuration = await answer.json()
    assert configuration["token_endpoint"] == served.gate.config.web.token_url
    assert configuration["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert "system/Slot.rs" in configuration["scopes_supported"]
    assert configuration["grant_types_supported"] == ["client_credentials"]
    base = served.gate.config.web.url
    assert configuration["introspection_endpoint"] == f"{base}/oauth/introspect"
    assert configuration["revocation_endpoint"] == f"{base}/oauth/revoke"
    assert {"permission-v1", "permission-v2"} < set(configuration["capabilities"])
    assert not [s for s in configuration["scopes_supported"] if not s.startswith("system/")]


async def test_site_of_no_charter_is_not_found(served: Served) -> None:
    for path in ("metadata", ".well-known/smart-configuration"):
        async with served.http.get(f"{served.url}/fhir/south-clinic/{path}") as answer:
            assert answer.status == 404

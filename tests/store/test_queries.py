"""Several statements as one; and what runs for each read and each write is planned once: making the
plan costs more than to run it."""

import json
from typing import Any

import pytest

from chartgate.store.consents import QUERIES as CONSENTS
from chartgate.store.database import Database
from chartgate.store.proposals import QUERIES as PROPOSALS
from chartgate.store.queries import chained
from chartgate.store.record import QUERIES as RECORD

SOON = "'2030-01-01T00:00:00Z'"
ONE = "'{Slot}', '{1}'"
STATEMENTS = {
    "claim": (PROPOSALS["claim_proposal"], f"'{{approved,committing}}', {SOON}, {SOON}"),
    "versions": (RECORD["select_versions"], f"'north-ehr', {ONE}, '{{x}}'"),
    "bodies": (RECORD["select_bodies"], f"'north-ehr', {ONE}"),
    "consents": (CONSENTS["select_known"], "'{north-clinic}', '{north-ehr}', '{Patient/1}'"),
}


def test_parameters_follow_one_another_and_the_tenant_is_shared() -> None:
    one = "UPDATE a SET b = $2 WHERE tenant = $1 AND c = $3\nRETURNING b;"
    two = "INSERT INTO d VALUES ($1, $2, $2, $10) RETURNING e"
    found = chained(one, two, "INSERT INTO audit VALUES ($1, $2)")
    assert found == (
        "WITH step_0 AS (\nUPDATE a SET b = $2 WHERE tenant = $1 AND c = $3\nRETURNING b\n), "
        "step_1 AS (\nINSERT INTO d VALUES ($1, $4, $4, $12) RETURNING e\n), "
        "step_2 AS (\nINSERT INTO audit VALUES ($1, $13)\n), result AS (TABLE step_1)\n"
        "SELECT 1 / (SELECT count(*) FROM step_0) AS changed, (TABLE result LIMIT 1) AS value"
    )


@pytest.mark.parametrize("name", STATEMENTS)
async def test_values_in_sight_make_no_cheaper_plan(database: Database, name: str) -> None:
    """PostgreSQL plans a statement anew each time where that looks cheaper than the plan that it
    has: then its cost with the values in sight is below the one without them."""
    query, values = STATEMENTS[name]
    async with database.connection() as connection:
        await connection.execute(f"PREPARE asked AS {query}")
        blind = await cost(connection, "force_generic_plan", database.tenant, values)
        seeing = await cost(connection, "force_custom_plan", database.tenant, values)
        await connection.execute("DEALLOCATE asked; RESET plan_cache_mode")
    assert blind == pytest.approx(seeing)


async def cost(connection: Any, mode: str, tenant: str, values: str) -> float:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked ('{tenant}', {values})")
    return float(json.loads(plan)[0]["Plan"]["Total Cost"])

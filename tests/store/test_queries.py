"""Several statements as one."""

from chartgate.store.queries import chained


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

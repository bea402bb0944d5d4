"""What is told of an error that nobody expected."""

from chartgate.cli.faults import leaf_of, place_of


def test_leaf_is_the_first_error_of_nested_groups() -> None:
    inner = ValueError("x")
    assert leaf_of(ExceptionGroup("a", [ExceptionGroup("b", [inner]), KeyError("y")])) is inner
    assert leaf_of(inner) is inner


def test_place_is_file_and_line_of_the_innermost_frame() -> None:
    def deep() -> None:
        raise ValueError("Canary")

    try:
        deep()
    except ValueError as error:
        place = place_of(error)
    assert place.startswith("test_faults.py:")
    assert place_of(ValueError("never raised")) == "an unknown place"

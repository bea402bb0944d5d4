"""What may be told of an error that nobody expected: its kind and its place, never its text, which
may quote what it worked on."""


def leaf_of(error: BaseException) -> BaseException:
    """The first error inside groups, which task groups make."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def place_of(error: BaseException) -> str:
    """File and line of the innermost frame, e.g. "up.py:120"."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"

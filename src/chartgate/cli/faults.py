"""What may be told of an error that nobody expected: its kind and its place, never its text, which
may quote what it worked on. And what a loop must not do with one."""

import asyncio


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


def is_cancelled() -> bool:
    """Whether this task was told to end. Cleaning up on the way out may raise an error of its own,
    which takes the place of the cancellation: a loop that goes on after it would never end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

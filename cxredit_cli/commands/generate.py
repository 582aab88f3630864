"""`cxredit generate`."""


def command() -> None:
    """Not written yet."""
